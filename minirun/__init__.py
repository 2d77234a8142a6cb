"""A container runtime: an image, one writable layer, and, while it runs, an isolated set of processes."""

__version__ = "0.1.0"
