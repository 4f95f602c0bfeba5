"""Predictions that wait for their label, and the join."""
