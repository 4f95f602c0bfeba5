"""The compiled walk over a request, and what it hands to Python."""
