"""The language of the house: batches of columns."""
