"""Alerts: rules over measurements, the state machine that judges them, and what destinations are told."""
