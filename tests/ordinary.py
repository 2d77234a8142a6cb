"""A network namespace of an ordinary user's is connected by pasta or slirp4netns; run as him, by test_usermode.py.

python ordinary.py pasta outside DIRECTORY PORT     it belongs to a user namespace of his, and he is outside of that
python ordinary.py pasta inside DIRECTORY PORT      he is in that, as its root

Prints the pid of the process, a path of the namespace, and ends both when its standard input ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from minirun.launch import machine
from minirun.network import usermode
from minirun.network.hold import Held


def main(kind: str, where: str, directory: str, port: str) -> None:
    """Do it."""
    its_own = ["--user", "--map-root-user"] if where == "outside" else []
    holder = subprocess.Popen(["unshare", *its_own, "--net", "sleep", "1000"])
    there = f"/proc/{holder.pid}/ns"
    while Path(f"{there}/net").readlink() == Path("/proc/self/ns/net").readlink() or not mapped(holder.pid):
        time.sleep(0.01)
    namespace = os.open(f"{there}/net", os.O_RDONLY | os.O_CLOEXEC)
    noted: list[int] = []
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    ports = [Held("tcp", "127.0.0.1", int(port), 80)]
    pid = usermode.start(
        kind, [], ports, namespace, folder, noted.append, machine.run, f"{there}/user" if its_own else ""
    )
    assert noted == [pid]
    print(pid, f"/proc/{os.getpid()}/fd/{namespace}", flush=True)  # noqa: T201 - who started us waits for it
    sys.stdin.read()
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    holder.kill()
    holder.wait()


def mapped(pid: int) -> bool:
    """Whether a process is root in its user namespace by now."""
    return Path(f"/proc/{pid}/uid_map").read_text().split()[:1] == ["0"]


if __name__ == "__main__":
    main(*sys.argv[1:])
