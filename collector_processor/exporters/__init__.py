"""Exporters, which send measurements, alerts and originals."""
