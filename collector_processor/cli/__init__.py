"""The command ``otel-ml``."""
