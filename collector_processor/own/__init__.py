"""The service's own telemetry, logs, memory and survival."""
