"""Explains a sample of the predictions: which, in which thread, and by which library's own method."""
