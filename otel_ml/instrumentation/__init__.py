"""The former home of :mod:`otel_ml.frameworks`; its modules still import, with a :class:`DeprecationWarning`."""
