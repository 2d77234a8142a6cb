"""Ages and sizes in Docker's words: ``About a minute ago``, ``72.8MB``."""

from __future__ import annotations

import time

_MINUTE_S = 60
_HOUR_S = 60 * _MINUTE_S
_DAY_S = 24 * _HOUR_S


def duration(seconds: float) -> str:
    """A length of time, as go-units' HumanDuration has it."""
    whole = int(seconds)
    hours = int(seconds / _HOUR_S + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole < _MINUTE_S:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if whole < _HOUR_S:
        return "About a minute" if whole < 2 * _MINUTE_S else f"{whole // _MINUTE_S} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    return f"{days // 30} months" if days < 730 else f"{int(seconds / _DAY_S / 365)} years"


def ago(then: float) -> str:
    """How long ago *then*, in seconds since 1970, was; ``N/A`` for 0."""
    return f"{duration(time.time() - then)} ago" if then else "N/A"


def date(then: float) -> str:
    """Seconds since 1970 as Docker writes a local time, ``2024-10-12 09:20:46 +0200 CEST``; ``N/A`` for 0."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(then)) if then else "N/A"


def size(size_bytes: float) -> str:
    """Bytes in powers of 1000 with three digits: ``0B``, ``12.3kB``, ``1.5GB``."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    place = 0
    # 999.5 and more would round to 1e+03
    while size_bytes >= 999.5 and place < len(units) - 1:
        size_bytes /= 1000
        place += 1
    return f"{size_bytes:.3g}{units[place]}"
