"""Model monitoring for OpenTelemetry: every prediction as a span with its features, score and identity."""
