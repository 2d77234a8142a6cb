"""Warm starts: a process that stays, and becomes whoever asks it to start a container: see zygote.py."""
