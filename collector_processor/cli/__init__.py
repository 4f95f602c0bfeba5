"""The ``otel-ml`` command."""
