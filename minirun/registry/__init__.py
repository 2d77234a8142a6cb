"""Registries: images come from them and go to them, by the OCI distribution protocol."""
