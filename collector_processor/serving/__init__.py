"""Listen on addresses, and serve HTTP within limits."""
