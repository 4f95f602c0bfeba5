"""Storage of the state on disk."""
