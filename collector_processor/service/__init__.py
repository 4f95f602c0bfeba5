"""The running service: built, started, drained, restored."""
