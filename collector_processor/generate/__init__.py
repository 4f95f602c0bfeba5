"""What is made from the list of metrics: dashboards and alert rules."""
