"""The compiled walk over a request, and its results as Python objects."""
