"""The toy exporter."""
