"""``python -m otel_ml doctor``: why predictions of an application do, or do not, arrive."""
