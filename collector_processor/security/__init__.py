"""Credentials, guards and TLS."""
