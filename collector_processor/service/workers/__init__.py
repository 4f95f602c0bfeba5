"""Several processes that receive and one that counts: ``otel-ml serve --workers N``."""
