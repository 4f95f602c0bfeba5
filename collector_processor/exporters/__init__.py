"""Where measurements and originals go."""
