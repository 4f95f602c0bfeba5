"""Values to bounded attributes: one row to scalars, many rows to columns."""
