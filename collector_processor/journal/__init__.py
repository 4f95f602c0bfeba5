"""The bounded log of accepted requests."""
