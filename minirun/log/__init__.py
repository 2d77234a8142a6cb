"""What containers print, kept in files: exactly once, rotated, read while it is written."""
