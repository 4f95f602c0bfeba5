"""The order of processing: decoded requests in, measurements out."""
