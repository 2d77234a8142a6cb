"""What happened, for whoever asks: a line of JSON an event, as Docker's API sends them; `minirun events` reads it.

    <runtime>/events     {"Type": "container", "Action": "die", "Actor": {"ID": "e07d…", "Attributes": {"name": …}},
                          "scope": "local", "time": 1795359600, "timeNano": 1795359600123456789}
    <runtime>/events.1   the same, older: at 4 MiB the file gets this name, and what had it before goes

A line is one write(2) at the file's end, so whoever emits waits for nobody, and nobody needs to listen. Who is killed
in the middle of one leaves its beginning, and the next line goes on behind it: a line counts from its last BEGINNING.
The files are gone at boot, as are those that they tell of. See docs.docker.com/reference/cli/docker/system/events.
"""

from __future__ import annotations

import fcntl
import os
import time

from minirun.kernel import jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from minirun.home import Home

BEGINNING = b'{"Type": '  # nowhere else in a line: within strings the quotes are escaped
LIMIT_BYTES = 4 << 20


def path(home: Home) -> str:
    """The file that events are appended to."""
    return f"{home.runtime}/events"


def older(home: Home) -> str:
    """The file of those before."""
    return f"{home.runtime}/events.1"


def emit(home: Home, kind: str, action: str, actor: str, attributes: Mapping[str, str]) -> None:
    """Tell that something happened. What cannot be told is no reason for the verb to fail: nothing is raised.

    Args:
        home: of whom.
        kind: ``container``, ``image``, ``volume`` …
        action: Docker's word, ``die``.
        actor: the id of what it happened to; the name of a volume.
        attributes: what else Docker tells of it: all of them strings.
    """
    now = time.time_ns()
    event = {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": actor, "Attributes": attributes},
        "scope": "local",
        "time": now // 1_000_000_000,
        "timeNano": now,
    }
    line = f"{jsonfile.dumps(event)}\n".encode()
    try:
        descriptor = os.open(path(home), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        os.write(descriptor, line)
        if os.lseek(descriptor, 0, os.SEEK_CUR) >= LIMIT_BYTES:
            _rotate(home, descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _rotate(home: Home, descriptor: int) -> None:
    """Give the file the name of the older one, unless somebody else does or did."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.path.samestat(os.fstat(descriptor), os.stat(path(home))):
        os.rename(path(home), older(home))
