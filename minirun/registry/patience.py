"""How long a registry is waited for, and how often it is asked again.

attempt 1 ──fails──▶ 0.25–0.5 s ──▶ 2 ──fails──▶ 0.5–1 s ──▶ 3 ──▶ 1–2 s ──▶ 4 ──▶ 2–4 s ──▶ 5 ──fails──▶ refused
                     half of it by chance, so that those who were refused together do not come back together
429, 503 with Retry-After: as long as it says, if that is not too long
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

RETRY_AFTER_S = 120.0


@dataclass(frozen=True, slots=True)
class Patience:
    """What is waited for.

    Attributes:
        connect_s: for a connection, and for TLS on it.
        stall_s: for the next byte, in either direction.
        document_s: for the whole of what is read into memory: a manifest, a token, an error.
        attempts: how often the same is tried, without getting further, before it is given up.
        first_s: the first pause at its longest; each is twice the one before.
        longest_s: no pause is longer.
    """

    connect_s: float = 10.0
    stall_s: float = 30.0
    document_s: float = 120.0
    attempts: int = 5
    first_s: float = 0.5
    longest_s: float = 20.0

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures, 1 and more."""
        longest = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return longest * random.uniform(0.5, 1)


class Cancelled(Exception):
    """Whoever wanted it does not want it any more."""


class Waiting:
    """Waits between attempts, and ends early when nobody wants the thing any more: `cancel`, from any thread."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Have every pause end, now and from now on."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Cancelled: `cancel` was called.
        """
        if self._cancelled.wait(seconds):
            raise Cancelled
