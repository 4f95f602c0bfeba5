"""OTLP as JSON, and what of OTLP is not predictions or labels."""
