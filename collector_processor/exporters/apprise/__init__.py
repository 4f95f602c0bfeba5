"""Alerts to the services that Apprise knows."""
