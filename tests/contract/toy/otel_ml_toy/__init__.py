"""A package that adds one component of each kind, as a third party would."""
