"""Statistics that add up: schema, panes, accumulation."""
