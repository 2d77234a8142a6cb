"""The network of a container."""
