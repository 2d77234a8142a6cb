"""Limits become control files of cgroup v2."""
