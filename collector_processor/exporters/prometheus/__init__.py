"""Measurements for Prometheus to scrape."""
