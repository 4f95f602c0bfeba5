"""Statistics that add: schema, panes, accumulation."""
