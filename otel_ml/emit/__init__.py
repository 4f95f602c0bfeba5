"""One call of a model becomes spans and metrics."""
