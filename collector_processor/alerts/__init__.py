"""Alerts: rules over measurements, the state machine that judges them, and the notices that destinations get."""
