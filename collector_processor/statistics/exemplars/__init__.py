"""Which predictions the figures are about: one trace for each bin, category, missing cell, and kind of error."""
