"""Reference profiles: build, learn, save and load them."""
