"""The running service: build, start, drain and restore it."""
