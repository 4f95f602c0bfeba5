"""Snapshots of the state."""
