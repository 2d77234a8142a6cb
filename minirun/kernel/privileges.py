"""What this process may do, as the kernel says it. See capabilities(7).

python-prctl is used here: it knows the names of capabilities that kernels have now.
"""

from __future__ import annotations

import prctl


def missing(names: tuple[str, ...]) -> list[str]:
    """Those of *names* (``CAP_SYS_ADMIN`` …) that are not in this process's effective set."""
    return [name for name in names if not getattr(prctl.cap_effective, name.removeprefix("CAP_").lower())]
