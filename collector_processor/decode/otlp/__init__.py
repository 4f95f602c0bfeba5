"""OTLP as JSON, and the parts of OTLP other than predictions and labels."""
