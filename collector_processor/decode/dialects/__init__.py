"""What other libraries send over OTLP in their own words, read as predictions and labels."""
