"""Queues, retries and connections of exporters."""
