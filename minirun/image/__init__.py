"""A name or a directory becomes an image: which layers, in which order, and what to run."""
