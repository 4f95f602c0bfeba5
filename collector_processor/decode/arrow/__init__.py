"""``ml.batch``: from Arrow streams to columns."""
