"""What the documentation promises, measured: ``python -m verification``, or ``make verify`` for all of it."""
