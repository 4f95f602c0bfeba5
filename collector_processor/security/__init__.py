"""Credentials, authentication and TLS."""
