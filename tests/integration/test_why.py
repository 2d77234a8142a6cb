"""`why` is right: what it says of a call or a path is what a process in the container is told that tries it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from minirun.cgroup import group
from minirun.container import record, state
from minirun.engine import whycall
from minirun.engine.explaining import Part
from minirun.home import Home
from tests import probing
from tests.command import Minirun
from tests.running import running

# what the probe asks for → the same, as one asks about it
CALLS = {
    "unshare-mount": "unshare(CLONE_NEWNS)", "unshare-user": "unshare(CLONE_NEWUSER)",
    "personality": "personality(0x1000000)", "kexec_load": "kexec_load", "syslog": "syslog(3)",
}  # fmt: skip
SOCKETS = {
    "alg": "AF_ALG", "bluetooth": "AF_BLUETOOTH", "inet": "AF_INET, SOCK_STREAM", "inet6": "AF_INET6, SOCK_STREAM",
    "netlink": "AF_NETLINK, SOCK_RAW", "packet": "AF_PACKET", "raw": "AF_INET, SOCK_RAW", "unix": "AF_UNIX",
    "vsock": "AF_VSOCK",
}  # fmt: skip
# the probe gives these a path or a descriptor of nothing, and that the kernel looks for first, or a size of nothing
LOOKS_FIRST = {
    "delete_module", "finit_module", "fsmount", "init_module", "kexec_file_load", "kexec_load", "mount",
    "mount_setattr", "move_mount", "open_by_handle_at", "reboot", "setns", "settimeofday", "umount2",
}  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe, and beside it a program that tries to read, write and execute paths."""
    folder = tmp_path_factory.mktemp("probing")
    source = r"""
        #define _GNU_SOURCE
        #include <errno.h>
        #include <fcntl.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/stat.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static void tell(const char *name, int result)
        { printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "ok"); fflush(stdout); }
        static void try(const char *path)
        {
            struct stat status;
            if (stat(path, &status)) return tell("path", -1);
            int directory = S_ISDIR(status.st_mode);
            tell("read", open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
            char name[4096];
            snprintf(name, sizeof name, "%s/why-probe", path);
            tell("write", directory ? mkdir(name, 0700) : open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY));
            if (directory) { rmdir(name); tell("execute", chdir(path)); }
            else if (S_ISREG(status.st_mode)) {
                if (!fork()) {
                    execl(path, path, (char *)0);
                    tell("execute", errno == ENOEXEC || errno == ETXTBSY ? 0 : -1);
                    _exit(1);
                }
                int how;
                wait(&how);
                if (!how) tell("execute", 0);
            }
        }
        int main(int count, char **words)
        {
            for (int place = 1; place < count; place++) {
                printf("at %s\n", words[place]);
                fflush(stdout);
                try(words[place]);
            }
        }
    """
    words = ["gcc", "-O1", "-static", "-x", "c", "-o", str(folder / "tries"), "-"]
    subprocess.run(words, input=source, text=True, check=True)
    probe = probing.build(folder)
    folder.chmod(0o755)
    return probe


def parts(store: Minirun, *words: str) -> list[dict[str, str]]:
    printed = store("why", "--format", "json", *words, check=True).stdout
    return [json.loads(line) for line in printed.splitlines()]


def answers(store: Minirun, *words: str) -> dict[str, str]:
    """What may be done with a path: name → state."""
    return {part["Name"]: part["State"] for part in parts(store, *words) if part["Kind"] == "path"}


def of_call(store: Minirun, name: str, about: str) -> list[Part]:
    home = Home(str(store.root), str(store.runtime))
    box = record.find(home, name)
    return whycall.explain(home, box, state.read(home, box), about, None)


UNCONFINED = ("--security-opt", "seccomp=unconfined")


@pytest.mark.parametrize(
    "flags",
    [(), ("--cap-add", "SYS_ADMIN", "--cap-add", "SYSLOG", "--cap-drop", "SYS_CHROOT"), ("-u", "1000"), UNCONFINED,
     (*UNCONFINED, "-u", "1000"), ("--cap-drop", "ALL"), ("--userns", "auto"),
     (*UNCONFINED, "--userns", "auto", "--cap-add", "ALL")],
    ids=" ".join,
)  # fmt: skip
def test_what_it_says_of_a_call_is_what_who_makes_it_is_told(
    store: Minirun, program: Path, flags: tuple[str, ...]
) -> None:
    if store.commoner and "--userns" in flags:
        pytest.skip("an ordinary user's container is in a user namespace as it is")
    with running(store, "asked", "sleep", "1000", flags=(*flags, "-v", f"{program.parent}:/probing:ro")):
        host = probing.of_host(program)
        told = probing.parse(store("exec", "asked", "/probing/probe", check=True).stdout)
        wrong, seen = [], {"allowed": 0, "denied": 0}
        for (kind, name), answer in told.items():
            if kind not in ("syscall", "socket") or host[kind, name] == answer == "ENOSYS":
                continue  # or this kernel has no such call
            about = CALLS.get(name, name) if kind == "syscall" else f"socket({SOCKETS[name]})"
            first, *rest = of_call(store, "asked", about)
            if first.state.startswith("denied: "):
                seen["denied"] += 1
                by_filter = any(part.kind == "filter" and part.state == first.state for part in rest)
                if answer != first.state.removeprefix("denied: ") and (by_filter or name not in LOOKS_FIRST):
                    wrong.append((about, first, answer))
            else:
                seen["allowed"] += 1
                depends = any(part.kind == "capability" and part.state == "missing then" for part in rest)
                if first.state != "allowed" or (answer in ("EPERM", "EACCES") and not depends):
                    wrong.append((about, first, answer))
        assert not wrong, wrong
        assert seen["allowed"] >= 5
        assert sum(seen.values()) > 45


@pytest.fixture(scope="module")
def box(store: Minirun, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A container with something of everything, that runs while the tests of paths ask."""
    data = tmp_path_factory.mktemp("data")
    (data / "file").write_text("x")
    flags = (
        "-v", f"{program.parent}:/probing:ro", "-v", f"{data}:/data", "-v", f"{data}:/kept:ro", "--tmpfs", "/scratch",
        "--tmpfs", "/fixed:ro", "--security-opt", "mask=/etc/group:/home",
        *(() if store.commoner else ("--device", "/dev/net/tun:r")),
    )  # fmt: skip
    script = """
        mknod /made c 1 11; mkfifo /fifo; mkdir -m 700 /private; touch /private/x; ln -s /etc/passwd /link
        ln -s /nowhere /dangling; ln -s loop /loop; printf '#!/bin/true\\n' >/own; chmod 700 /own
        printf '#!/bin/true\\n' >/all; chmod 755 /all; cp /all /scratch/all; cp /all /data/all; printf x >/none
        chmod 0 /none; touch /alices; chown 1000:1000 /alices; chmod 070 /alices; exec sleep 1000
    """
    with running(store, "paths", "sh", "-c", script, flags=flags):
        while store("exec", "paths", "test", "-e", "/alices").returncode:
            pass
        yield "paths"


PATHS = (
    "/etc/passwd", "/etc/shadow", "/etc/hosts", "/link", "/dangling", "/loop", "/nothing", "/nothing/x",
    "/etc/passwd/x", "/own", "/all", "/none", "/alices", "/private", "/private/x", "/fifo", "/data/file", "/data/all",
    "/kept/file", "/kept", "/scratch", "/scratch/all", "/fixed", "/made", "/dev/null", "/dev/net/tun", "/dev/full",
    "/dev/shm", "/",
    "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/kmsg", "/proc/self/oom_score_adj", "/proc/1/environ",
    "/proc/self/status", "/sys/power", "/sys/fs/cgroup/cgroup.procs", "/etc", "/tmp", "/home", "/etc/../etc/passwd",
)  # fmt: skip


def said_of(store: Minirun, name: str, user: str | None, paths: Sequence[str]) -> dict[str, dict[str, str]]:
    """What `why` answers about each path; by one process, as 40 take their time to begin."""
    script = (
        "import json, sys; from minirun.engine.why import why; name, user, *paths = sys.argv[1:]\n"
        "for path in paths: print(json.dumps([[part.name, part.state] for part in why(name, path, user or None)"
        " if part.kind == 'path']))"
    )
    words = [sys.executable, "-c", script, name, user or "", *paths]
    done = subprocess.run(words, env=store.environment(), capture_output=True, text=True, check=True)
    return {path: dict(json.loads(line)) for path, line in zip(paths, done.stdout.splitlines(), strict=True)}


@pytest.mark.parametrize("user", [None, "1000", "1000:0"])
def test_what_it_says_of_a_path_is_what_who_tries_is_told(store: Minirun, box: str, user: str | None) -> None:
    # /proc/self is the first process's to `why`, and that is root's
    paths = [path for path in PATHS if user is None or not path.startswith("/proc/self")]
    before = store("diff", box, check=True).stdout
    said = said_of(store, box, user, paths)
    assert store("diff", box, check=True).stdout == before  # to ask copies nothing up
    as_whom = ("-u", user) if user else ()
    wrong = []
    for block in store("exec", *as_whom, box, "/probing/tries", *paths, check=True).stdout.split("at ")[1:]:
        path, *lines = block.splitlines()
        for name, answer in (line.split() for line in lines):
            expected = {f"denied: {answer}"}
            if name == "path":
                expected = {"missing"} if answer == "ENOENT" else expected
            elif answer == "ok":
                expected = {"allowed", "hidden"} if name == "read" else {"allowed"}
            elif (answer, name) == ("ENXIO", "write"):
                expected = {"allowed"}  # of a FIFO that nobody reads
            if said[path].get(path if name == "path" else name) not in expected:
                wrong.append((path, name, said[path], answer))
    assert not wrong, wrong


def test_what_is_hidden_is_said_to_be_and_what_lifts_it(store: Minirun, box: str) -> None:
    for path, flag in (("/proc/keys", "--security-opt unmask=/proc/keys"), ("/etc/group", "mask=/etc/group")):
        first = parts(store, box, path)[0]
        assert (first["Name"], first["State"]) == ("read", "hidden")
        assert flag in first["Change"]
        assert store("exec", box, "cat", path, check=True).stdout == ""


LIFTED = [
    (("/proc/sys/kernel/hostname", "write"), ("--security-opt", "unmask=/proc/sys"), "--security-opt unmask=/proc/sys"),
    (("/sys/fs/cgroup/cgroup.procs", "write"), ("--security-opt", "writable-cgroups"), "writable-cgroups"),
    (("/etc/shadow", "read", "-u", "1000"), ("-u", "0"), "-u 0"),
    (("/proc/kmsg", "read"), ("--cap-add", "SYSLOG"), "--cap-add SYSLOG"),
]


@pytest.mark.parametrize(("asked", "flags", "change"), LIFTED, ids=[one[2] for one in LIFTED])
def test_what_it_says_lifts_a_denial_does(
    store: Minirun, box: str, asked: tuple[str, ...], flags: tuple[str, ...], change: str
) -> None:
    path, name, *user = asked
    (denied,) = [part for part in parts(store, *user, box, path) if part["Name"] == name]
    assert denied["State"].startswith("denied")
    assert change in denied["Change"]
    with running(store, "lifted", "sleep", "1000", flags=flags):
        assert answers(store, "lifted", path)[name] == "allowed"


def test_it_says_which_rule_denies_a_call_and_what_lifts_it(store: Minirun, box: str) -> None:
    call, rule, capability = parts(store, box, "mount")
    assert (call["State"], rule["State"]) == ("denied: EPERM", "denied: EPERM")
    assert rule["Meaning"] == "what is mounted where keeps its files apart from the host's"
    assert (capability["Name"], capability["State"]) == ("SYS_ADMIN", "missing")
    assert {part["Change"] for part in (call, rule, capability)} == {"--cap-add SYS_ADMIN"}
    states = {part["Meaning"][:8]: part["State"] for part in parts(store, box, "socket") if part["Kind"] == "filter"}
    assert (states["AF_ALG: "], states["AF_NFC"], states["AF_VSOCK"]) == ("denied: EPERM", "allowed", "denied: EPERM")
    assert parts(store, box, "socket")[0]["State"] == "depends on its arguments"


def test_a_profile_of_the_users_is_asked_too(store: Minirun, tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "comment": "no more rooms"},
                     {"names": ["rmdir"], "action": "SCMP_ACT_KILL_PROCESS"},
                     {"names": ["openat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
                      "args": [{"index": 2, "value": 3, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]}],
    }  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(profile))
    flags = ("--security-opt", f"seccomp={tmp_path}/mine.json")
    store("create", "--name", "never-ran", *flags, "busybox", "true", check=True)
    try:
        first, rule = parts(store, "never-ran", "mkdir")
        assert (first["State"], rule["Meaning"]) == ("denied: ENOSPC", "no more rooms")
        assert parts(store, "never-ran", "rmdir")[0]["State"] == "kills the process: SIGSYS"
        assert parts(store, "never-ran", "getpid")[0]["State"] == "allowed"
    finally:
        store("rm", "never-ran", check=True)
    with running(store, "mine", "sleep", "1000", flags=flags):
        said = answers(store, "mine", "/etc/passwd")
        assert (said["read"], said["write"]) == ("allowed", "denied: EACCES")


def test_it_asks_also_where_it_could_be_looked_into(store: Minirun) -> None:
    with running(store, "tracer", "sleep", "1000", flags=("--cap-add", "SYS_PTRACE")):
        assert answers(store, "tracer", "/proc/sys/kernel/hostname")["write"] == "denied: EROFS"


def test_who_is_stopped_in_there_is_not_waited_for(store: Minirun) -> None:
    script = (
        "from minirun.container import asking; from minirun.engine.why import why; asking.PATIENCE_MS = 500\n"
        "from minirun.errors import MinirunError\n"
        "for _ in range(500):\n"  # until it is stopped before it has answered
        "    try: why('stops', '/etc/passwd', None)\n"
        "    except MinirunError as error: print(error); break"
    )
    with running(store, "stops", "sh", "-c", "while :; do kill -STOP -1 2>/dev/null; done") as now:
        done = subprocess.run(
            [sys.executable, "-c", script], env=store.environment(), capture_output=True, text=True, check=True
        )
        assert "did not answer within 0.5 seconds" in done.stdout
        assert len(group.processes(now.cgroup)) == 1


def test_a_person_sees_the_answer_first(store: Minirun, box: str) -> None:
    lines = store("why", box, "chroot", check=True).stdout.splitlines()
    assert lines[0].split() == ["ABOUT", "NAME", "STATE", "WHY", "CHANGED", "BY"]
    assert lines[1].split()[:3] == ["call", "chroot", "allowed"]
    shown = store("why", "--format", "{{.Name}}: {{.State}}", box, "bpf", check=True).stdout
    assert shown.splitlines()[0] == "bpf: denied: EPERM"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosuch", "mount"), "no such container"), (("stopped", "/etc/passwd"), "it does not run"),
        (("stopped", "mounts"), "perhaps mount"), (("stopped", "socket(AF_NOTHING)"), "'AF_NOTHING' is no number"),
        (("stopped", "a b"), "neither a system call nor a path"), (("stopped", "dup(1,2,3,4,5,6,7)"), "6 arguments"),
        (("-u", "nobody-there", "stopped", "mount"), "no user 'nobody-there'"), (("stopped", ""), "nothing was asked"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_told_is_refused(store: Minirun, words: tuple[str, ...], said: str) -> None:
    store("create", "--name", "stopped", "busybox", "true", check=True)
    try:
        result = store("why", *words)
        assert result.returncode == 125
        assert said in result.stderr
    finally:
        store("rm", "stopped", check=True)
