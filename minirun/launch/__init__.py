"""A specification becomes a plan of system calls, and the plan a process."""
