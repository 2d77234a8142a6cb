"""What exists on disk about a container, and the states it can be in."""
