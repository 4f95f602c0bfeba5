"""Measurements and alerts as text."""
