"""Zero-code instrumentation: one folder for each framework."""
