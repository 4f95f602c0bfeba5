"""What the service knows of each model right now: written at each tick, read by whoever shows it."""
