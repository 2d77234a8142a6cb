"""A process that is named by a number, and is still the one that was meant.

A pid is given again once its process is gone; together with the time of its start it means one process until the next
boot, and with the id of the boot for ever. See pidfd_open(2), proc_pid_stat(5).
"""

from __future__ import annotations

import fcntl
import os
from _signal import pidfd_send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SIGKILL = 9
_START_FIELD = 22  # of /proc/PID/stat
# linux/pidfd.h: the ioctl and the 64 bytes of its struct pidfd_info, which begins with what is asked for, and was told
_PIDFD_GET_INFO = 0xC040FF0B
_INFO_EXIT = 1 << 3
_INFO_BYTES = 64
_EXIT_CODE_AT = 60

_boot: list[str] = []  # it does not change while we run


def boot_id() -> str:
    """Which boot of the host this is: 36 characters, by chance. See random(4), boot_id."""
    if not _boot:
        with open("/proc/sys/kernel/random/boot_id", "rb", 0) as file:
            _boot.append(file.read(64).decode().strip())
    return _boot[0]


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 where there is none of that number."""
    fields = _stat(pid)
    return int(fields[_START_FIELD - 3]) if fields else 0


def parent(pid: int) -> int:
    """The parent of a process, 0 for one that is none of ours; -1: there is none of that number that has not ended."""
    fields = _stat(pid)
    return int(fields[1]) if fields and fields[0] not in (b"Z", b"X") else -1


def runs(pid: int, start: int) -> bool:
    """Whether the process *pid* that started at *start* does anything yet: one that nobody has reaped does not."""
    fields = _stat(pid)
    return bool(fields) and int(fields[_START_FIELD - 3]) == start and fields[0] not in (b"Z", b"X")


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/<pid>/stat from the third on, which is the state; none where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", 0) as file:
            # the second field, the name, is in brackets and may hold anything
            return file.read(1024).rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def open_pidfd(pid: int, start: int) -> int:
    """A pidfd of the process *pid* that started at *start*, or -1 if it is gone."""
    if pid <= 0:
        return -1
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
    # looked at after it was opened: while the number meant this process, so did the descriptor
    if start_ticks(pid) != start:
        os.close(descriptor)
        return -1
    return descriptor


def end(pid: int, start: int, patience_s: float) -> None:
    """Kill the process *pid* that started at *start*, and wait so long until it has ended. Idempotent."""
    descriptor = open_pidfd(pid, start)
    if descriptor < 0:
        return
    try:
        pidfd_send_signal(descriptor, _SIGKILL)
        wait([descriptor], patience_s)
    except ProcessLookupError:
        pass  # it has ended, and waits for its parent
    finally:
        os.close(descriptor)


def send(pid: int, start: int, number: int) -> bool:
    """Send a signal to the process *pid* that started at *start*; false if it is gone."""
    descriptor = open_pidfd(pid, start)
    if descriptor < 0:
        return False
    try:
        pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait(descriptors: Sequence[int], seconds: float | None = None) -> bool:
    """Wait until a process of those pidfds has ended; false if none did within *seconds*."""
    import select

    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if seconds is None else max(0, seconds * 1000)))


def wait_status(pidfd: int) -> int | None:
    """The wait status of a process that has ended and was somebody else's child.

    Returns:
        As waitpid(2) has it; None where the kernel does not tell, which it does since Linux 6.15.
    """
    info = bytearray(_INFO_BYTES)
    info[0] = _INFO_EXIT
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not info[0] & _INFO_EXIT:
        return None
    return int.from_bytes(info[_EXIT_CODE_AT : _EXIT_CODE_AT + 4], "little", signed=True)
