"""Alerts to the services that Apprise supports."""
