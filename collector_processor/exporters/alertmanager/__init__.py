"""Alerts to Alertmanager."""
