"""How many descriptors this process may have: as many as anybody, where it looks after many others.

Its starter's limit was the first container's caller's, which is 1024 most often. See getrlimit(2), RLIMIT_NOFILE.
"""

from __future__ import annotations

_MOST = 1 << 16


def allow_many() -> None:
    """Let us have as many as anybody may."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(hard, _MOST)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):  # no CAP_SYS_RESOURCE, or fs.nr_open is less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
