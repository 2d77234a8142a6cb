"""What --restart means: whether a container is started again when its command has ended, and after how long.

    no               never
    on-failure[:N]   if the exit code is not 0, or it ended with the host; N times at most
    always           whatever the code; not if a person ended it, until the host or a person starts it again
    unless-stopped   the same, and not at boot if a person had ended it

The first time after 100 ms; each time that it ran for less than ten seconds after twice as long, up to a minute: see
docs.docker.com/engine/containers/start-containers-automatically.
"""

from __future__ import annotations

from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.state import State

POLICIES = ("no", "on-failure", "always", "unless-stopped")
NO: list[str | int] = ["no", 0]
_FIRST_S, _LONGEST_S, _STEADY_S = 0.1, 60.0, 10.0


def read(text: str) -> list[str | int]:
    """Read --restart into [policy, how often at most, 0 for ever].

    Raises:
        BadInput: it is none.
    """
    policy, colon, most = text.partition(":")
    attempt = f"use --restart {text}"
    if policy not in POLICIES:
        raise BadInput(attempt, f"there is no policy {policy!r}", f"there are {', '.join(POLICIES)}")
    if not colon:
        return [policy, 0]
    if policy != "on-failure":
        raise BadInput(attempt, f"{policy} has no limit", "on-failure:3 has one")
    if not (most.isascii() and most.isdigit()):
        raise BadInput(attempt, f"{most!r} is not a number of times", "on-failure:3 starts it three times again")
    return [policy, int(most)]


def delay(policy: list[str | int], before: State, code: int, finished: float, *, by_hand: bool) -> float | None:
    """After how many seconds a container is to be started again; None if it is not.

    Args:
        policy: from `read`.
        before: its state while it ran.
        code: its exit code.
        finished: when it ended.
        by_hand: whether a person ended it.
    """
    name, most = policy
    if by_hand or name == "no":
        return None
    if name == "on-failure" and (code == 0 or (most and before.restarts >= int(most))):
        return None
    if finished - before.started >= _STEADY_S or not before.delay:
        return _FIRST_S
    return min(2 * before.delay, _LONGEST_S)


def at_boot(policy: list[str | int], last: State) -> bool:
    """Whether a container is started when the host is, after it was as *last*, which was written then, says."""
    name, most = policy
    if name == "no" or last.status == "created":
        return False
    if name == "always" or last.by_hand:
        return name == "always"
    if name == "unless-stopped":
        return True
    failed = last.status != "exited" or last.exit_code != 0 or last.halted
    return failed and (not most or last.restarts < int(most))
