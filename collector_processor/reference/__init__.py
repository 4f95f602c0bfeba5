"""Reference profiles: built, learned, saved, loaded."""
