"""What the service knows about each model now: written at each tick, read by everything that shows it."""
