"""What the attributes and columns of a row mean, whatever form they came in."""
