"""Monitors: pure functions from (window, reference) to measurements."""
