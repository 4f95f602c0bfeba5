"""What serves the service beside its pipelines."""
