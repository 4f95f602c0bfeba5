"""The service beside the Collector: OTLP in, drift, quality and performance out."""
