"""Listening on an address, and HTTP within bounds."""
