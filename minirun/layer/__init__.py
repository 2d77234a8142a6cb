"""Blobs become directories and directories blobs; the store that keeps each layer once."""
