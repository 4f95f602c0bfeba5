"""Labels from a file or a query, sent in acknowledged requests by ``otel-ml label``."""
