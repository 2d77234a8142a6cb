"""Plans run by the C extension and by ctypes: encoded once, with the same results."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import unpack
from types import ModuleType

import pytest

from minirun.kernel.call import Call, Slot, Vector
from minirun.kernel.names import AT_FDCWD, CLONE_NEWPID, CLONE_NEWUTS, O_CLOEXEC
from minirun.launch import fallback, machine

FIRST, SECOND = Slot(0, "first"), Slot(1, "second")
TRUE = Call("execve", "/bin/true", Vector(["true"]), Vector([]))


def compiled() -> ModuleType | None:
    try:
        from minirun.launch import _plan  # type: ignore[attr-defined]
    except ImportError:
        return None
    return _plan  # type: ignore[no-any-return]


@pytest.fixture(params=["compiled", "fallback"], autouse=True)
def which(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The machine that runs the plans: each test is for both."""
    chosen = compiled() if request.param == "compiled" else fallback
    if chosen is None:
        pytest.skip("the extension is not compiled: `make setup`")
    monkeypatch.setattr(machine, "_machine", lambda: chosen)
    return str(request.param)


@pytest.fixture(autouse=True)
def same_descriptors() -> Iterator[None]:
    """Nothing that a plan or its process opened stays open here."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) == before


def making(folder: Path, *names: str) -> list[Call]:
    """Make directories in *folder*, by its descriptor."""
    opening = Call("openat", AT_FDCWD, str(folder), os.O_RDONLY | O_CLOEXEC, 0, save=FIRST)
    return [opening, *(Call("mkdirat", FIRST, name, 0o755) for name in names), Call("close", FIRST)]


def shell(script: str, *words: str, env: Sequence[str] = ()) -> Call:
    return Call("execve", "/bin/sh", Vector(["sh", "-c", script, *words]), Vector(env))


def spawned(plan: Sequence[Call], times: bytearray | None = None) -> int:
    """Run *plan* in a new process; return its wait status as an exit code."""
    process = machine.spawn(plan, 0, -1, times)
    assert os.readlink(f"/proc/self/fd/{process.pidfd}") == "anon_inode:[pidfd]"  # noqa: PTH115 - it is no path
    os.close(process.pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])


def test_a_slot_carries_the_result_of_one_call_to_another(tmp_path: Path) -> None:
    assert machine.run(making(tmp_path, "one", "two")) > 2
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_a_plan_runs_in_a_new_process_that_becomes_the_command(tmp_path: Path) -> None:
    script = f"echo $0-$1-$WHO >{tmp_path}/out; exit 9"
    umask = os.umask(0o022)
    plan = [*making(tmp_path, "one"), Call("umask", 0o077), shell(script, "a", "", env=["WHO=me"])]
    assert spawned(plan) == 9
    assert (tmp_path / "out").read_text() == "a--me\n"
    assert (tmp_path / "one").is_dir()
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
    assert os.umask(umask) == 0o022  # the child's is the child's


def test_a_failing_call_is_named_and_nothing_after_it_is_done(tmp_path: Path) -> None:
    bad = Call("openat", AT_FDCWD, "/no/such/file", 0, 0, why="to see")
    for attempt in (machine.run, lambda plan: machine.spawn(plan, 0, -1)):
        with pytest.raises(machine.CallFailed) as caught:
            attempt([*making(tmp_path, f"before-{attempt is machine.run}"), bad, *making(tmp_path, "after"), TRUE])
        assert caught.value.call is bad
        assert caught.value.errno == errno.ENOENT
        assert str(caught.value).startswith('openat(AT_FDCWD, "/no/such/file", 0, 0): ENOENT')
    assert sorted(os.listdir(tmp_path)) == ["before-False", "before-True"]
    with pytest.raises(ChildProcessError):  # it was reaped
        os.waitpid(-1, os.WNOHANG)


def test_an_exec_that_fails_is_told_like_any_call() -> None:
    with pytest.raises(machine.CallFailed) as caught:
        machine.spawn([Call("execve", "/etc/passwd", Vector(["x"]), Vector([]))], 0, -1)
    assert caught.value.errno == errno.EACCES


def test_a_tolerated_error_leaves_out_what_depends_on_it(tmp_path: Path) -> None:
    dependent = making(tmp_path, "skipped")
    missing = ("openat", AT_FDCWD, "/no/such/file", 0, 0)
    tolerant = Call(*missing, save=SECOND, tolerate=(errno.ENOENT,), skip=len(dependent))
    machine.run([tolerant, *dependent, *making(tmp_path, "done")])
    machine.run([Call(*missing, tolerate=(errno.EACCES, errno.ENOENT)), *making(tmp_path, "too")])
    assert sorted(os.listdir(tmp_path)) == ["done", "too"]
    with pytest.raises(machine.CallFailed):
        machine.run([Call(*missing, tolerate=(errno.EACCES,), skip=3), *dependent])


def test_a_call_that_succeeds_leaves_nothing_out(tmp_path: Path) -> None:
    machine.run([Call("umask", 0o022, tolerate=(errno.ENOENT,), skip=3), *making(tmp_path, "one")])
    assert os.listdir(tmp_path) == ["one"]


def test_times_are_read_around_each_call(tmp_path: Path) -> None:
    plan = making(tmp_path, "one", "two")
    times = bytearray(8 * (len(plan) + 1))
    machine.run(plan, times)
    readings = unpack(f"<{len(plan) + 1}q", times)
    assert readings[0] > 0
    assert list(readings) == sorted(readings)
    assert readings[-1] > readings[0]


def test_signals_are_blocked_across_the_clone_and_here_afterwards_as_before(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    opening = Call("openat", AT_FDCWD, str(tmp_path / "out"), os.O_WRONLY | os.O_CREAT | O_CLOEXEC, 0o600, save=FIRST)
    grep = Call("execve", "/bin/grep", Vector(["grep", "SigBlk", "/proc/self/status"]), Vector([]))
    assert spawned([opening, Call("dup3", FIRST, 1, 0), grep]) == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert int((tmp_path / "out").read_text().split()[1], 16).bit_count() >= 60  # a plan sets its own mask


def test_a_name_that_is_no_utf8_reaches_the_kernel_as_it_is(tmp_path: Path) -> None:
    machine.run(making(tmp_path, os.fsdecode(b"\xff\xfe")))
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xfe"]


def test_a_process_is_born_in_namespaces_of_its_own(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("namespaces are made by root")
    plan = [shell(f"readlink /proc/self/ns/uts >{tmp_path}/out; echo $$ >>{tmp_path}/out")]
    process = machine.spawn(plan, CLONE_NEWUTS | CLONE_NEWPID, -1)
    os.close(process.pidfd)
    assert os.waitpid(process.pid, 0)[1] == 0
    uts, pid = (tmp_path / "out").read_text().split()
    assert uts != str(Path("/proc/self/ns/uts").readlink())
    assert pid == "1"


def test_a_hundred_starts_out_of_one_process_all_succeed(tmp_path: Path) -> None:
    """The extension's child runs in our memory, on a stack of its own: none may spoil it for the next."""
    plan = [*making(tmp_path), shell("exit 0")]
    assert [spawned(plan) for _ in range(100)] == [0] * 100
