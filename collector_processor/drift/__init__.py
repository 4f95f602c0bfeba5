"""Drift methods, one file each, pure functions over all columns at once."""
