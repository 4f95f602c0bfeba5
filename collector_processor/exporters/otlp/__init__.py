"""Measurements, alerts and originals as OTLP."""
