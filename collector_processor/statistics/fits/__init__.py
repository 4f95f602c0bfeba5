"""What was fitted on the reference rows, as arrays that evaluate rows; ``schema.fit(Kind)`` looks one up."""
