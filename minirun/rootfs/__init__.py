"""Layer directories become one mounted root file system."""
