"""Predictions that wait for their labels, and the join."""
