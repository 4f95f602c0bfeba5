"""Zero-code instrumentation, one module a framework."""
