"""The machine of _plan.c without a compiler: the same encoded plans, run by ctypes, in a child that is a real copy.

    spawn: clone3(CLONE_VFORK | …) without CLONE_VM
      parent  ── suspended by the kernel ──┬─ reads the page
      child   ── call 0, call 1, … ────────┘── exec; or the failed call and its errno into a shared page, and exit

Without CLONE_VM the child has a stack of its own, so returning twice from one foreign call is what fork does too. It
copies the interpreter's page tables: some milliseconds more than the extension takes. In the child nothing is imported:
after pivot_root an import would run the image's code.
"""

from __future__ import annotations

import _signal
import ctypes
import mmap
import os
import sys
from struct import iter_unpack, pack, unpack

from minirun.kernel.call import SLOTS
from minirun.kernel.names import CLONE_INTO_CGROUP, CLONE_PIDFD, CLONE_VFORK, SYSCALLS

_ADDRESS, _SLOT = 1, 2
_SIGCHLD = 17

# PyDLL keeps the interpreter's lock across the call: the child must find it held by its own, only thread
_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * 7


class _Plan:
    def __init__(self, calls: bytes, data: bytearray, relocations: bytes, times: bytearray | None) -> None:
        self.buffer = (ctypes.c_char * len(data)).from_buffer(data)
        self.base = ctypes.addressof(self.buffer)
        for (at,) in iter_unpack("<I", relocations):
            data[at : at + 8] = pack("<Q", unpack("<Q", data[at : at + 8])[0] + self.base)
        self.calls = list(iter_unpack("<HBBHH6B2x6q", calls))
        self.slots = [0] * SLOTS
        self.last = 0
        self.times = memoryview(times).cast("q") if times is not None else None

    def run(self) -> tuple[int, int]:
        """Make the calls; (index of the one that failed or -1, errno)."""
        from time import clock_gettime_ns

        skip, times = 0, self.times
        if times:
            times[0] = clock_gettime_ns(1)
        for index, (number, save, leave_out, tolerated, also, *rest) in enumerate(self.calls):
            if skip:
                skip -= 1
                continue
            args = [
                self.base + value if kind == _ADDRESS else self.slots[value] if kind == _SLOT else value
                for kind, value in zip(rest[:6], rest[6:], strict=True)
            ]
            result = _syscall(number, *args)
            if result == -1 and (error := ctypes.get_errno()):
                if error not in (tolerated, also):
                    return index, error
                skip = leave_out
            elif save:
                self.last = self.slots[save - 1] = result
            ctypes.set_errno(0)
            if times:
                times[index + 1] = clock_gettime_ns(1)
        return -1, 0


def run(calls: bytes, data: bytearray, relocations: bytes, times: bytearray | None) -> tuple[int, int, int]:
    """See run_here in _plan.c."""
    plan = _Plan(calls, data, relocations, times)
    ctypes.set_errno(0)
    failed, error = plan.run()
    return failed, error, plan.last


def fork(cgroup: int) -> int:
    """See fork_into in _plan.c; the child goes there when it is born."""
    pid = os.fork()
    if not pid:
        try:
            procs = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup)
            os.write(procs, b"0")
            os.close(procs)
        except OSError:
            pass  # it is gone: then the child is where its parent is
    return pid


def spawn(
    calls: bytes, data: bytearray, relocations: bytes, flags: int, cgroup: int, times: bytearray | None
) -> tuple[int, int, int, int]:
    """See spawn in _plan.c; the child's readings of the clock are lost with the child."""
    plan = _Plan(calls, data, relocations, times)
    report = mmap.mmap(-1, mmap.PAGESIZE)
    pidfd = ctypes.c_int(-1)
    flags = int(flags) | CLONE_VFORK | CLONE_PIDFD
    if cgroup >= 0:
        flags = flags | CLONE_INTO_CGROUP
    # struct clone_args of linux/sched.h: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
    # set_tid, set_tid_size, cgroup
    request = pack("<11Q", flags, ctypes.addressof(pidfd), 0, 0, _SIGCHLD, 0, 0, 0, 0, 0, max(cgroup, 0))
    buffer = ctypes.create_string_buffer(request, len(request))
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    ctypes.set_errno(0)
    pid = _syscall(SYSCALLS["clone3"], ctypes.addressof(buffer), len(request), 0, 0, 0, 0)
    if pid == 0:
        sys.meta_path.clear()
        failed, error = plan.run()
        report[:8] = pack("<ii", failed + 1, error)
        os._exit(127)
    error = ctypes.get_errno()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
    if pid < 0:
        raise OSError(error, os.strerror(error))
    failed, error = unpack("<ii", report[:8])
    return pid, pidfd.value, failed - 1, error
