"""The order of things: decoded requests in, measurements out."""
