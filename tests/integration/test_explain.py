"""`explain` tells what is, as the kernel sees it: of an image with flags, and of a container."""

from __future__ import annotations

import json

import pytest

from tests.command import Minirun
from tests.running import running

CALLS = "system calls"


def explained(store: Minirun, *words: str) -> dict[tuple[str, str], str]:
    """(kind, name) to state."""
    printed = store("explain", "--format", "json", *words, check=True).stdout
    parts = [json.loads(line) for line in printed.splitlines()]
    return {(part["Kind"], part["Name"]): part["State"] for part in parts}


@pytest.mark.parametrize(
    "flags", [(), ("--cap-drop", "ALL"), ("--cap-add", "SYS_ADMIN", "--cap-drop", "CHOWN")], ids=str
)
def test_capabilities_are_those_that_a_run_has(store: Minirun, flags: tuple[str, ...]) -> None:
    told = explained(store, *flags, "busybox")
    allowed = {name for (kind, name), state in told.items() if kind == "capability" and state == "allowed"}
    status = store("run", "--rm", *flags, "busybox", "grep", "CapEff", "/proc/self/status", check=True).stdout
    names = [name for kind, name in told if kind == "capability"]
    bits = int(status.split()[1], 16)
    assert allowed == {name for number, name in enumerate(names) if bits >> number & 1}


def test_calls_that_are_denied_are_denied(store: Minirun) -> None:
    assert explained(store, "busybox")[CALLS, "setns, unshare"] == "denied"
    assert store("run", "--rm", "busybox", "unshare", "-m", "true").returncode == 1
    assert explained(store, "--cap-add", "SYS_ADMIN", "busybox")[CALLS, "setns, unshare"] == "allowed"
    assert store("run", "--rm", "--cap-add", "SYS_ADMIN", "busybox", "unshare", "-m", "true").returncode == 0
    unconfined = explained(store, "--security-opt", "seccomp=unconfined", "busybox")
    assert [state for (kind, _), state in unconfined.items() if kind == CALLS] == ["allowed"]


def test_paths_that_are_hidden_are_hidden(store: Minirun) -> None:
    paths = {name: state for (kind, name), state in explained(store, "busybox").items() if kind == "path"}
    hidden = [path for path, state in paths.items() if state == "hidden"]
    script = "for p in " + " ".join(hidden) + "; do [ -d $p ] && ls -A $p; [ -f $p ] && cat $p; done; true"
    assert store("run", "--rm", "busybox", "sh", "-c", script, check=True).stdout == ""
    assert paths["/proc/sys"] == "read-only"


def test_of_a_container_it_tells_how_that_is(store: Minirun) -> None:
    flags = ("--pid", "host", "--read-only", "-v", "/srv:/data:ro", "--device", "/dev/net/tun:r", "--network", "host")
    with running(store, "told", "sleep", "1000", flags=flags):
        told = explained(store, "told")
        assert told["namespace", "pid"] == told["namespace", "net"] == "shared"
        assert told["namespace", "mnt"] == "own"
        assert told["mount", "/"] == told["mount", "/data"] == "read-only"
        assert told["device", "/dev/net/tun"] == "allowed: r"
        result = store("explain", "--cap-drop", "ALL", "told")
        assert result.returncode == 125
        assert "it is a container" in result.stderr


def test_a_person_sees_it_by_kinds(store: Minirun) -> None:
    printed = store("explain", "busybox", check=True).stdout
    for title in ("NAMESPACE", "CAPABILITY", "SYSTEM CALLS", "PATH", "MOUNT", "DEVICE", "LIMIT", "USER", "PROCESS"):
        assert f"{title}\n" in printed
    assert "--cap-add SYS_ADMIN" in printed


@pytest.mark.parametrize(
    ("words", "why"),
    [(("nosuch",), "no image of that name"), ((), "nothing was named"), (("--uts", "x", "busybox"), "no such mode")],
)
def test_what_cannot_be_explained_is_refused(store: Minirun, words: tuple[str, ...], why: str) -> None:
    result = store("explain", *words)
    assert result.returncode == 125
    assert why in result.stderr
