"""``ml.batch``: Arrow streams to columns."""
