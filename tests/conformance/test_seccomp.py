"""A profile means here what it means to podman and runc: the filters that the kernel has decide on every call alike."""

from __future__ import annotations

import json
import os
import random
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from minirun.security import seccomp, seccompprofile
from minirun.security.seccomprun import Instruction
from tests import filters, peers
from tests.command import Minirun
from tests.filters import ALLOW, EPERM
from tests.probing import DOCKERS
from tests.running import running

PODMANS = Path("/usr/share/containers/seccomp.json")
SEEDS = range(60) if os.environ.get("MINIRUN_TEST_THOROUGH") else (0, 1, 3)
PATIENCE_S = 20.0
# of which rules are made up: what starting a container, and waiting in it, does without
CALLS = ("mkdir", "socket", "ioctl", "personality", "clone3", "ptrace", "mount", "socketcall", "ipc", "io_uring_setup",
         "time", "modify_ldt", "a_call_of_tomorrow", "kill", "futex_time64", "keyctl", "semctl")  # fmt: skip
ACTIONS = ("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRACE", "TRAP")
CAPABILITIES = ("CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_BPF")
VALUES = (0, 1, 38, 40, 0x5412, 0x7E020000, 2**31, 2**32 - 1, 2**32, 2**63 + 5, 2**64 - 1)


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Podman]:
    """A podman that has an image `busybox`."""
    if os.geteuid() != 0:
        pytest.skip("containers are made by root")
    archive = tmp_path_factory.mktemp("image") / "busybox.tar"
    program = Path("/bin/busybox").read_bytes()
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, BytesIO(program))
    with peers.podman() as found:
        found("import", "-q", archive, "busybox")
        yield found


@contextmanager
def with_profile(podman: peers.Podman, profile: Path, folder: Path) -> Iterator[int]:
    """The pid of a container of podman's while it runs with a profile."""
    (folder / "go").mkdir()
    script = "while [ ! -e /go/end ]; do /bin/busybox sleep 0.05; done"
    arguments = (
        *DOCKERS, "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
        f"--security-opt=seccomp={profile}", f"--volume={folder}/go:/go", f"--pidfile={folder}/pid", "busybox",
        "/bin/busybox", "sh", "-c", script,
    )  # fmt: skip
    with ThreadPoolExecutor(1) as threads:
        ending = threads.submit(podman.run, *arguments)
        try:
            end = time.monotonic() + PATIENCE_S
            while not (pid := (folder / "pid").read_text() if (folder / "pid").exists() else ""):
                assert not ending.done(), ending.result()
                assert time.monotonic() < end
                time.sleep(0.02)
            # it is written when the container is there; the filter is when its command has begun
            while Path(f"/proc/{pid}/comm").read_text() != "busybox\n":
                assert time.monotonic() < end
                time.sleep(0.02)
            yield int(pid)
        finally:
            (folder / "go/end").touch()
        ending.result(PATIENCE_S)


def of_both(store: Minirun, podman: peers.Podman, profile: Path, folder: Path) -> list[list[Instruction]]:
    """The filters of a container of ours and of podman's that were given the same profile."""
    with running(store, "ours", "sleep", "1000", flags=("--security-opt", f"seccomp={profile}")) as now:
        ours = filters.installed(now.pid)
        bound = status(now.pid, "CapBnd")
    with with_profile(podman, profile, folder) as pid:
        assert status(pid, "CapBnd") == bound
        return [ours, filters.installed(pid)]


def status(pid: int, key: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{key}:"))


@pytest.mark.parametrize("profile", [PODMANS, Path(seccomp.BUILTIN)], ids=["podman's", "ours"])
def test_the_profiles_that_are_used_decide_alike(
    store: Minirun, podman: peers.Podman, tmp_path: Path, profile: Path
) -> None:
    if not profile.exists():
        pytest.skip(f"there is no {profile}: it is of golang-github-containers-common")
    ours, theirs = of_both(store, podman, profile, tmp_path)
    assert filters.differences(ours, theirs) == []
    assert len(ours) < len(theirs) / 3


def made_up(seed: int) -> dict[str, Any]:
    """A profile of some rules that nobody would write."""
    chance = random.Random(seed)

    def argument(index: int) -> dict[str, Any]:
        operator = chance.choice([*seccompprofile.OPERATORS])
        return {"index": index, "op": operator, "value": chance.choice(VALUES), "valueTwo": chance.choice(VALUES)}

    def rule() -> dict[str, Any]:
        indices = [chance.randrange(6) for _ in range(chance.choice((0, 1, 1, 2, 3)))]
        made: dict[str, Any] = {
            "names": chance.sample(CALLS, chance.choice((1, 2, 5))), "action": f"SCMP_ACT_{chance.choice(ACTIONS)}",
            "args": [argument(index) for index in indices],
        }  # fmt: skip
        if chance.random() < 0.3:
            made["errnoRet"] = chance.choice((1, 38, 4094))
        for kind in ("includes", "excludes"):
            if chance.random() < 0.2:
                made[kind] = {"caps": chance.sample(CAPABILITIES, 2)}
            elif chance.random() < 0.2:
                made[kind] = {"arches": [chance.choice(("amd64", "arm64"))]}
        return made

    default = chance.choice(("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_ERRNO"))
    found: dict[str, Any] = {"defaultAction": default, "syscalls": [rule() for _ in range(chance.choice((1, 8, 25)))]}
    if default == "SCMP_ACT_ERRNO":  # what both take to start and to wait
        names = {name for one in json.loads(Path(seccomp.BUILTIN).read_text())["syscalls"]
                 if one["action"] == "SCMP_ACT_ALLOW" for name in one["names"]} - {*CALLS}  # fmt: skip
        found["syscalls"].append({"names": sorted(names), "action": "SCMP_ACT_ALLOW"})
        found["defaultErrnoRet"] = chance.choice((1, 13, 38))
    architectures = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    if chance.random() < 0.7:
        found["archMap"] = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": architectures}]
    else:
        found["architectures"] = ["SCMP_ARCH_X86_64", *chance.sample(architectures, 1)]
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_profiles_that_nobody_would_write_decide_alike(
    store: Minirun, podman: peers.Podman, tmp_path: Path, seed: int
) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(made_up(seed)))
    refused = store("run", "--rm", "--security-opt", f"seccomp={profile}", "busybox", "true")
    if refused.returncode:
        # one rule contradicts another
        assert "another rule for" in refused.stderr
        with pytest.raises(AssertionError, match="error adding seccomp"), with_profile(podman, profile, tmp_path):
            pass
        return
    ours, theirs = of_both(store, podman, profile, tmp_path)
    assert filters.differences(ours, theirs) == []


def test_the_comparison_sees_a_difference() -> None:
    base = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    one = {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]}
    found = filters.differences(filters.compiled(base), filters.compiled({**base, "syscalls": [one]}))
    assert {(name, number) for name, number, *_ in found} == {("x86_64", 16)}
    assert {given[1] for _, _, given, *_ in found} == {7}
    assert {answers for *_, first, second in found for answers in (first, second)} == {hex(ALLOW), hex(EPERM)}
