"""Every container has a filter of system calls, and whatever becomes of what is kept of it, it is the right one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from minirun.security.seccomp import BUILTIN
from minirun.security.seccomprun import Instruction
from minirun.security.seccomptree import decode
from tests import busybox
from tests.command import Minirun
from tests.filters import installed
from tests.running import running
from tests.screen import PATIENCE_S, Screen

STATUS = ("cat", "/proc/self/status")
NO_MKDIR = {"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}  # fmt: skip
FULL = "No space left on device"


def value(status: str, key: str) -> str:
    return next(line.split()[1] for line in status.splitlines() if line.startswith(f"{key}:"))


def filters_of(status: str) -> tuple[str, str]:
    """The mode, which is 2 for filters, and how many there are."""
    return value(status, "Seccomp"), value(status, "Seccomp_filters")


def option(path: Path, document: Any) -> tuple[str, str]:
    """Write a profile; returns the flag for it."""
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return "--security-opt", f"seccomp={path}"


@pytest.mark.parametrize(
    "flags",
    [(), ("-u", "1000"), ("--init",), ("-t",), ("--cap-drop", "ALL"), ("--cap-add", "ALL", "-u", "1000"),
     ("--security-opt", "seccomp=builtin")],
    ids=" ".join,
)  # fmt: skip
def test_every_container_has_a_filter(store: Minirun, flags: tuple[str, ...]) -> None:
    status = store("run", "--rm", *flags, "busybox", *STATUS, check=True).stdout
    assert filters_of(status) == ("2", "1")
    assert value(status, "NoNewPrivs") == "0"


def test_what_it_takes_to_install_one_is_gone_with_the_exec(store: Minirun) -> None:
    for flags, effective in (((), "00000000a80425fb"), (("--cap-drop", "ALL"), "0" * 16), (("-u", "1000"), "0" * 16)):
        status = store("run", "--rm", *flags, "busybox", *STATUS, check=True).stdout
        assert [value(status, key) for key in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [
            effective, effective, "0" * 16, "0" * 16,
        ]  # fmt: skip


def test_so_has_every_command_that_joins_it_and_every_check_of_its_health(store: Minirun) -> None:
    health = ("--health-cmd", "grep Seccomp: /proc/self/status", "--health-interval", "100ms")
    with running(store, "idle", "sleep", "1000", flags=health):
        for flags in ((), ("-u", "1000"), ("--privileged",)):
            status = store("exec", *flags, "idle", *STATUS, check=True).stdout
            assert filters_of(status) == ("2", "1")
        # capabilities bring no other filter
        assert "Operation not permitted" in store("exec", "--privileged", "idle", "hostname", "other").stderr
        end = time.monotonic() + PATIENCE_S
        while "Seccomp" not in (log := store("inspect", "-f", "{{json .State.Health.Log}}", "idle").stdout):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert json.loads(log)[0]["Output"] == "Seccomp:\t2\n"


def test_unconfined_is_without_one_in_all_that_runs_in_it(store: Minirun) -> None:
    with running(store, "free", "sleep", "1000", flags=("--security-opt", "seccomp=unconfined")):
        assert filters_of(store("exec", "free", *STATUS, check=True).stdout) == ("0", "0")
        assert store("inspect", "-f", "{{.HostConfig.SecurityOpt}}", "free").stdout == "[seccomp=unconfined]\n"


def test_a_profile_is_the_containers_whatever_becomes_of_its_file(store: Minirun, tmp_path: Path) -> None:
    flags = option(tmp_path / "mine.json", NO_MKDIR)
    store("create", "--name", "own", *flags, "busybox", "sh", "-c", "mkdir /x || sleep 1000", check=True)
    try:
        (tmp_path / "mine.json").unlink()
        for compiled in (store.runtime / "seccomp").iterdir():
            compiled.unlink()
        for _ in range(2):
            store("start", "own", check=True)
            assert FULL in store("exec", "own", "mkdir", "/y").stderr
            store("stop", "-t", "0", "own", check=True)
        (shown,) = json.loads(store("inspect", "-f", "{{json .HostConfig.SecurityOpt}}", "own", check=True).stdout)
        assert json.loads(shown.removeprefix("seccomp=")) == NO_MKDIR
    finally:
        store("rm", "-f", "own", check=True)


def test_who_makes_a_call_that_kills_ends_with_its_signal(store: Minirun, tmp_path: Path) -> None:
    deadly = {**NO_MKDIR, "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]}
    flags = option(tmp_path / "deadly.json", deadly)
    assert store("run", "--rm", *flags, "busybox", "mkdir", "/x").returncode == 128 + 31  # SIGSYS


@pytest.mark.parametrize("action", ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"])
@pytest.mark.parametrize("flags", [(), ("-u", "1000", "--init"), ("--security-opt", "no-new-privileges")], ids=" ".join)
def test_a_profile_need_not_allow_execveat_nor_what_the_start_did_before(
    store: Minirun, tmp_path: Path, flags: tuple[str, ...], action: str
) -> None:
    names = ["execveat", "capset", "setgroups", "setresuid", "setresgid", "keyctl", "pivot_root", "mount",
             "close_range", "dup3", "seccomp", "umask", "setsid"]  # fmt: skip
    document = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": action}]}
    own = option(tmp_path / "narrow.json", document)
    assert store("run", "--rm", *own, *flags, "busybox", "echo", "hello", check=True).stdout == "hello\n"
    result = store("run", "--rm", *own, *flags, "busybox", "nosuch")
    assert (result.returncode, "not found in $PATH" in result.stderr) == (127, True)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "it is not JSON"),
        ({"defaultAction": "SCMP_ACT_NONE"}, "defaultAction: 'SCMP_ACT_NONE'"),
        ({"defaultAction": "SCMP_ACT_ERRNO"}, "it does not allow execve"),
        ({**NO_MKDIR, "listenerPath": "/run/x.sock"}, "listenerPath"),
        ({**NO_MKDIR, "architectures": ["SCMP_ARCH_S390X"]}, "libseccomp refuses s390x"),
        ("[" * (2 << 20), "it is longer than"),
        ("\udcff", "it is not JSON in UTF-8"),
    ],
    ids=lambda one: one if isinstance(one, str) and len(one) < 60 else "",
)  # fmt: skip
@pytest.mark.parametrize("verb", ["run", "create"])
def test_a_bad_profile_is_refused_and_nothing_is_made(
    store: Minirun, tmp_path: Path, verb: str, document: Any, said: str
) -> None:
    path = tmp_path / "bad.json"
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_bytes(text.encode(errors="surrogateescape"))
    before = busybox.contents(store.root), busybox.contents(store.runtime)
    result = store(verb, "--security-opt", f"seccomp={path}", "busybox", "true")
    assert result.returncode == 125
    assert f"cannot use the seccomp profile {path}: " in result.stderr
    assert said in result.stderr
    assert (busybox.contents(store.root), busybox.contents(store.runtime)) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seccomp", "it is none that is known"), ("seccomp=", "it is none that is known"), ("", "it is none that is"),
        ("nothing=1", "it is none that is known"), ("no-new-privileges=maybe", "it is on or off"),
        ("seccomp=/no/such", "ENOENT"), ("seccomp=/", "EISDIR"),
    ],
)  # fmt: skip
def test_an_option_that_is_none_is_refused(store: Minirun, text: str, said: str) -> None:
    result = store("run", "--rm", "--security-opt", text, "busybox", "true")
    assert (result.returncode, said in result.stderr) == (125, True)


# ── what is kept of it


def compiled(store: Minirun) -> Path:
    """The file of the default profile's filter for a container with the default capabilities."""
    store("run", "--rm", "busybox", "true", check=True)
    (found,) = (store.runtime / "seccomp").glob("builtin-*-a80425fb-*")
    return found


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


SPOILT: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 8),
    "cut within an instruction": lambda path: os.truncate(path, path.stat().st_size - 3),
    "longer": lambda path: path.write_bytes(path.read_bytes() + bytes(8)),
    "too long": lambda path: path.write_bytes(path.read_bytes() + bytes(1 << 20)),
    "zeroes": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "another answer": lambda path: flip(path, -1),
    "another flag": lambda path: flip(path, 4),
    "no filter": lambda path: flip(path, 7),
    "of another key": lambda path: flip(path, 20),
    "a link": lambda path: replace(path, lambda it: it.symlink_to("/dev/zero")),
    "a FIFO": lambda path: replace(path, os.mkfifo),
    "a directory": lambda path: replace(path, Path.mkdir),
}  # fmt: skip


def program(kept: bytes) -> list[Instruction]:
    """What such a file has behind its header."""
    end = kept.index(b"\0", 12) + 1
    return decode(kept[end + -end % 8 :])


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_kept_filter_that_is_spoilt_is_made_anew(store: Minirun, spoil: Callable[[Path], object]) -> None:
    path = compiled(store)
    right = path.read_bytes()
    spoil(path)
    with running(store, "after", "sleep", "1000") as now:
        assert installed(now.pid) == program(right)
    if path.is_dir():
        path.rmdir()
    else:
        assert path.read_bytes() == right
        assert path.stat().st_mode & 0o7777 == 0o600


def test_a_kept_filter_is_used_as_it_is(store: Minirun) -> None:
    path = compiled(store)
    before = path.stat()
    compiled(store)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert path.parent.stat().st_mode & 0o7777 == 0o700


def test_where_nothing_can_be_kept_containers_start_all_the_same(store: Minirun) -> None:
    folder = compiled(store).parent
    shutil.rmtree(folder)
    folder.touch()
    try:
        assert filters_of(store("run", "--rm", "busybox", *STATUS, check=True).stdout) == ("2", "1")
    finally:
        folder.unlink()


def test_many_at_once_that_find_nothing_kept_make_the_same(store: Minirun) -> None:
    path = compiled(store)
    right = path.read_bytes()
    shutil.rmtree(path.parent)
    with ThreadPoolExecutor(6) as threads:
        found = [threads.submit(store, "run", "--rm", "busybox", *STATUS, check=True) for _ in range(6)]
    assert {filters_of(one.result().stdout) for one in found} == {("2", "1")}
    assert [(one.name, one.read_bytes()) for one in path.parent.iterdir()] == [(path.name, right)]


Call = Callable[..., subprocess.CompletedProcess[str]]


def replacing(store: Minirun, place: str, other: str | Path) -> Call:
    """Runs minirun on a host that has *other* in place of a file."""
    script = f'mount --bind {other} {place} && exec "$@"'

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = ["unshare", "--mount", "sh", "-c", script, "sh", *store.command(arguments)]
        return subprocess.run(
            words, env=store.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip

    return call


@pytest.fixture
def no_library(store: Minirun) -> Call:
    """Runs minirun on a host that has no libseccomp."""
    maps = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    (where,) = {line.split()[-1] for line in maps.splitlines() if "libseccomp.so.2 " in line}
    return replacing(store, where, "/dev/null")


def test_without_libseccomp_what_is_kept_is_used_and_nothing_new_compiled(
    store: Minirun, no_library: Call, tmp_path: Path
) -> None:
    path = compiled(store)
    assert no_library("run", "--rm", "busybox", "true").returncode == 0
    path.unlink()
    before = busybox.contents(store.root)
    for flags in ((), option(tmp_path / "mine.json", NO_MKDIR)):
        result = no_library("run", "--rm", *flags, "busybox", "true")
        assert result.returncode == 125
        assert "this host has no libseccomp.so.2" in result.stderr
        assert "apt-get install libseccomp2" in result.stderr
    assert busybox.contents(store.root) == before
    assert no_library("run", "--rm", "--security-opt", "seccomp=unconfined", "busybox", "true").returncode == 0


# ── the default of tomorrow


@pytest.fixture
def upgraded(store: Minirun, tmp_path: Path) -> Call:
    """Runs a minirun whose default profile does not allow mkdir: ENOSPC."""
    document = json.loads(Path(BUILTIN).read_text())
    for group in document["syscalls"]:
        group["names"] = [name for name in group["names"] if name not in ("mkdir", "mkdirat")]
    profile = tmp_path / "tomorrow.json"
    profile.write_text(json.dumps({**document, "syscalls": [*document["syscalls"], *NO_MKDIR["syscalls"]]}))
    return replacing(store, BUILTIN, profile)


def test_a_command_has_the_filter_that_its_container_was_started_with_though_the_default_is_another_since(
    store: Minirun, upgraded: Call
) -> None:
    assert FULL in upgraded("run", "--rm", "busybox", "mkdir", "/x").stderr
    store("run", "-d", "--name", "old", "busybox", "sleep", "1000", check=True)
    try:
        assert upgraded("exec", "old", "mkdir", "/one").returncode == 0
        # a start takes today's, and so do commands from then on, whoever joins
        assert upgraded("restart", "-t", "0", "old").returncode == 0
        assert FULL in upgraded("exec", "old", "mkdir", "/two").stderr
        assert FULL in store("exec", "old", "mkdir", "/two").stderr
        store("restart", "-t", "0", "old", check=True)
        assert store("exec", "old", "mkdir", "/two", check=True).stdout == ""
        assert upgraded("exec", "old", "mkdir", "/three").returncode == 0
    finally:
        store("rm", "-f", "old", check=True)


def test_where_what_was_compiled_is_gone_a_command_is_refused_rather_than_given_another_filter(
    store: Minirun, upgraded: Call, tmp_path: Path
) -> None:
    with (
        running(store, "default", "sleep", "1000"),
        running(store, "own", "sleep", "1000", flags=option(tmp_path / "mine.json", NO_MKDIR)),
    ):
        shutil.rmtree(store.runtime / "seccomp")
        result = upgraded("exec", "default", "true")
        assert result.returncode == 125
        assert "minirun's default profile is another since" in result.stderr
        assert FULL in upgraded("exec", "own", "mkdir", "/x").stderr
        # while the default is what it was it is compiled again
        assert store("exec", "default", "mkdir", "/x", check=True).stdout == ""


# ── nothing more than it has


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a program that is root's and setuid, and says who it is; and one that types into its terminal."""
    folder = tmp_path_factory.mktemp("setuid") / "image"
    base = busybox.tree(folder)
    sources = {
        "whoami": '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("%d\\n", geteuid()); }\n',
        "type": "#include <stdio.h>\n#include <sys/ioctl.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n"
        'int main(void) { char x = 120; if (ioctl(0, TIOCSTI, &x)) perror("ioctl");\n'
        'if (syscall(SYS_ioctl, 0, 0xffffffff00000000 | TIOCSTI, &x)) perror("syscall"); }\n',
    }
    for name, source in sources.items():
        words = ["gcc", "-static", "-O1", "-x", "c", "-o", str(base / "bin" / name), "-"]
        subprocess.run(words, input=source, text=True, check=True)
    (base / "bin/whoami").chmod(0o4755)
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [("no-new-privileges", "1000"), ("no-new-privileges=true", "1000"), ("no-new-privileges:true", "1000"),
     ("no-new-privileges=false", "0")],
)  # fmt: skip
def test_a_setuid_program_gives_nothing_where_there_are_no_new_privileges(
    store: Minirun, image: Path, text: str, expected: str
) -> None:
    flags = ("--rm", "-u", "1000", "--security-opt", text)
    assert store("run", *flags, image, "whoami", check=True).stdout == f"{expected}\n"
    unconfined = ("--security-opt", "seccomp=unconfined")
    assert store("run", *flags, *unconfined, image, "whoami", check=True).stdout == f"{expected}\n"


def test_that_holds_for_commands_that_join_it_and_after_it_was_started_again(store: Minirun, image: Path) -> None:
    store("run", "-d", "--name", "none", "-u", "1000", "--security-opt", "no-new-privileges", image, "sleep", "1000",
          check=True)  # fmt: skip
    try:
        store("restart", "-t", "0", "none", check=True)
        assert store("exec", "none", "whoami", check=True).stdout == "1000\n"
        status = store("exec", "--privileged", "none", *STATUS, check=True).stdout
        assert (filters_of(status), value(status, "NoNewPrivs")) == (("2", "1"), "1")
        assert store("inspect", "-f", "{{.HostConfig.SecurityOpt}}", "none").stdout == "[no-new-privileges]\n"
    finally:
        store("rm", "-f", "none", check=True)


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


def test_nothing_is_typed_into_the_terminal_that_it_was_given(store: Minirun, image: Path, screen: Screen) -> None:
    with screen.run(store, "run", "--rm", "-it", str(image), "sh", "-c", "/bin/type; echo done") as process:
        seen = screen.wait_for(b"done\r\n").decode()
        assert process.wait(PATIENCE_S) == 0
    assert seen.replace("\r", "").splitlines()[-2:] == [
        "ioctl: Operation not permitted", "syscall: Operation not permitted"
    ]  # fmt: skip


def test_the_plan_and_the_trace_have_it_last(store: Minirun) -> None:
    flags = ("--rm", "--security-opt", "no-new-privileges")
    plan = store("run", "--dry-run", *flags, "busybox", "true", check=True).stdout.splitlines()
    assert [line.partition("(")[0] for line in plan[-3:]] == ["prctl", "seccomp", "execveat"]
    assert "SECCOMP_FILTER_FLAG_SPEC_ALLOW" in plan[-2]
    trace = store("run", "--trace", *flags, "busybox", "true", check=True).stderr
    assert "µs  seccomp(SECCOMP_SET_MODE_FILTER" in trace
