"""Several receiving processes before one that counts: ``otel-ml serve --workers N``."""
