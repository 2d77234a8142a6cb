"""A container's health is checked: a command runs in it, as `exec` would run it, and what comes of it counts.

    record ─▶ exec in a group of its own below the container's ─▶ result ─▶ health, event ─▶ --health-on-failure
                    <group>/minirun-health    killed as one: nothing of a check outlives it

Done by a child of the supervisor: see container/schedule.py. Should it be killed, the next one ends what it left.
"""

from __future__ import annotations

import os
import select
import time

from minirun import events
from minirun.cgroup import absent, group
from minirun.container import health, state
from minirun.container import record as records
from minirun.container.firstprocess import FirstProcess
from minirun.container.health import Result
from minirun.container.joining import Joined
from minirun.engine import execution
from minirun.errors import MinirunError, NotFound
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home
    from minirun.launch.machine import Process

OUTPUT_BYTES = 4096
_CHUNK_BYTES, _READS = 64 << 10, 16  # the most that a pipe holds, as everybody may make it
_SIGKILL = 9


def check(home: Home, container_id: str) -> None:
    """Check the health of a container once, unless it does not run or somebody else is checking it."""
    try:
        box = records.read(home, container_id)
        lock = files.lock(f"{home.kept(container_id)}/health.lock", exclusive=True, wait=False)
    except (NotFound, FileNotFoundError, BlockingIOError):
        return
    try:
        now, wanted = state.read(home, box), health.of(box.options)
        if wanted is None or now.status != "running":
            return  # what is paused would not answer
        result = _run(home, box, now, wanted)
        after = state.read(home, box)
        if after.status != "running" or after.started != now.started:
            return  # it ended meanwhile, or stands still: that says nothing
        found = health.load(home, container_id)
        changed = found.take(result, wanted, now.started)
        health.save(home, container_id, found)
    finally:
        os.close(lock)
    if changed:
        events.emit(home, "container", f"health_status: {found.status}", box.id, box.told())
        if found.status == health.UNHEALTHY:
            _act(home, box, now, wanted["on_failure"])


def _run(home: Home, box: Record, now: State, wanted: Mapping[str, Any]) -> Result:
    """Run the check to its end, or to the end of its time."""
    kind, *words = wanted["test"]
    command = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words
    path = f"{now.cgroup}/minirun-health"
    began = time.time()
    try:
        if absent.is_at(now.cgroup):
            code, output = _run_in(home, now.cgroup, box, now, command, wanted["timeout"])
            return Result(began, time.time(), code, output)
        group.end(path)
        os.mkdir(path)
        try:
            code, output = _run_in(home, path, box, now, command, wanted["timeout"])
        finally:
            group.end(path)
    except (OSError, MinirunError) as error:
        code, output = -1, str(error)
    return Result(began, time.time(), code, output)


def _run_in(home: Home, path: str, box: Record, now: State, command: Sequence[str], seconds: float) -> tuple[int, str]:
    first = FirstProcess.open(box, now)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        entry = execution.entry(home, box, now, first, {}, command, ())
        joined = Joined(first, entry, stdin=False, tty=False, detach=True)
        entry.redirects = [(writing if place else descriptor, place) for descriptor, place in entry.redirects]
        end = time.monotonic() + seconds
        joined.begin(box, path)
    finally:
        os.close(writing)
        first.close()
    try:
        output, ended = _read(reading, joined.process, end)
        if ended:
            return state.exit_code(os.waitpid(joined.process.pid, 0)[1]), output
        if path == now.cgroup:
            os.kill(joined.process.pid, 9)  # what it started stays: nothing tells that from the container's own
        else:
            group.kill(path)
        os.waitpid(joined.process.pid, 0)
        return -1, f"Health check exceeded timeout ({seconds:g}s): {output}".removesuffix(": ")
    finally:
        os.close(reading)


def _read(reading: int, process: Process, end: float) -> tuple[str, bool]:
    """The beginning of what a check prints, until its process ends; and whether that did before *end*."""
    os.set_blocking(reading, False)
    poll = select.poll()
    poll.register(process.pidfd, select.POLLIN)
    poll.register(reading, select.POLLIN)
    kept, total = b"", 0
    ended = closed = False
    while not ended and (seconds := end - time.monotonic()) > 0:
        ended = any(descriptor == process.pidfd for descriptor, _ in poll.poll(1000 * seconds))
        # what is in the pipe; when it has ended no more than goes in, for others of the check may have it open still
        for _ in range(0 if closed else _READS):
            try:
                data = os.read(reading, _CHUNK_BYTES)
            except BlockingIOError:
                break
            if not data:
                closed = True
                poll.unregister(reading)
                break
            total += len(data)
            kept += data[: OUTPUT_BYTES - len(kept)]
    return kept.decode(errors="replace") + ("..." if total > len(kept) else ""), ended


def _act(home: Home, box: Record, now: State, action: str) -> None:
    """Do what --health-on-failure wants of a container that is not healthy any more."""
    from minirun.engine import lifecycle

    if action == "kill":  # a person did not: its restart policy counts
        events.emit(home, "container", "kill", box.id, box.told(signal=str(_SIGKILL)))
        group.kill(now.cgroup)
    elif action in ("stop", "restart"):
        verb = lifecycle.stop if action == "stop" else lifecycle.restart
        for outcome in verb([box.id]):
            if isinstance(outcome, MinirunError):
                raise outcome
