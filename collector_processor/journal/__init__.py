"""The bounded log of admitted requests."""
