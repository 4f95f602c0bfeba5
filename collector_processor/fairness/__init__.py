"""Fairness between groups: counts, figures, and what chance explains, as pure functions."""
