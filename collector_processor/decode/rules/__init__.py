"""The meaning of a row's attributes and columns, whatever form they came in."""
