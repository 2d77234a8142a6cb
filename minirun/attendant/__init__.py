"""The process that containers on networks of their own ask for names, and what else is done for them meanwhile."""
