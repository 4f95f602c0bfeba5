"""Batches of columns, which all other packages exchange."""
