"""The toy extension."""
