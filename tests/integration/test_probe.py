"""What a container can do, asked from inside by probe.c: as Docker's list has it or stricter, for run and for exec."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import probing
from tests.command import Minirun
from tests.probing import Answers
from tests.running import running

REFUSED = ("EPERM", "ENOSYS", "EACCES")
CAPABILITIES = "00000000a80425fb"
# of what probe.c asks, what a container may
ALLOWED_CALLS = {"chroot", "name_to_handle_at", "process_vm_readv", "ptrace"}
ALLOWED_SOCKETS = {"inet", "inet6", "netlink", "packet", "raw", "unix"}
DEVICES = {"full", "null", "random", "tty", "urandom", "zero"}
UNWRITABLE = ("EROFS", "ENOENT", "EACCES", "EPERM", "EISDIR", "ETXTBSY")
# a process's own, and the container's own file
WRITABLE = {"/proc/self/oom_score_adj", "/proc/1/mem", "/etc/hosts"}
SILENT = ("empty", "ENOENT", "EPERM", "EACCES", "EINVAL")
READABLE = {"/proc/kallsyms", "/proc/1/environ"}  # addresses in it are zero; its own process's
OPEN_DEVICES = {f"/dev/{name}" for name in (*DEVICES, "pts")}  # each a mount of its own; terminals are devices
SHARED_WITH_HOST = {"time", "user"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probing")
    folder.chmod(0o755)
    return probing.build(folder)


@pytest.fixture(scope="module")
def host(program: Path) -> Answers:
    return probing.of_host(program)


@pytest.fixture(
    scope="module",
    params=["run", "exec", "run -u 1000", "run --userns=auto", "exec --userns=auto"],
    ids=lambda told: told,
)
def inside(request: pytest.FixtureRequest, root: None, store: Minirun, program: Path) -> Answers:
    """The answers in a container."""
    verb, *flags = request.param.split()
    if verb == "exec":
        with running(store, "probed", "sleep", "1000", flags=("-v", f"{program.parent}:/probing:ro", *flags)):
            return probing.parse(store("exec", "probed", "/probing/probe", check=True).stdout)
    return probing.of_minirun(store, program, *flags)


def is_mapped(inside: Answers) -> bool:
    """Whether it has a user namespace of its own."""
    return inside["namespace", "user"] != str(Path("/proc/self/ns/user").readlink())


def of(kind: str, answers: Answers) -> dict[str, str]:
    return {name: answer for (known, name), answer in answers.items() if known == kind}


def test_a_call_that_docker_refuses_is_refused(inside: Answers, host: Answers) -> None:
    asked = of("syscall", inside)
    assert len(asked) > 45
    wrong = {
        name: (answer, host["syscall", name]) for name, answer in asked.items()
        if name not in ALLOWED_CALLS and answer not in REFUSED
    }  # fmt: skip
    assert not wrong
    assert asked["clone3"] == "ENOSYS"  # so that libraries use clone
    # that says something only where the host's root is answered otherwise
    telling = {name for name, answer in of("syscall", host).items() if answer not in REFUSED}
    assert len(telling) > 30, telling


def test_sockets_are_those_of_docker(inside: Answers) -> None:
    for name, answer in of("socket", inside).items():
        if name in ALLOWED_SOCKETS:
            is_root = inside["status", "CapEff"] != "0" * 16
            assert answer == ("ok" if is_root or name not in ("packet", "raw") else "EPERM"), name
        else:
            assert answer in (*REFUSED, "EAFNOSUPPORT"), name


def test_capabilities_are_dockers_and_there_is_a_filter(inside: Answers) -> None:
    status = of("status", inside)
    assert status["CapBnd"] == CAPABILITIES
    assert status["CapInh"] == status["CapAmb"] == "0" * 16
    assert status["CapEff"] == status["CapPrm"]
    assert status["CapEff"] in (CAPABILITIES, "0" * 16)
    assert status["Seccomp"] == "2"


def test_nothing_of_the_host_can_be_written(inside: Answers) -> None:
    for name, answer in of("write", inside).items():
        if name not in WRITABLE:
            assert answer in UNWRITABLE, name


def test_nothing_that_tells_about_the_host_can_be_read(inside: Answers) -> None:
    for name, answer in {**of("read", inside), **of("list", inside)}.items():
        if name not in READABLE:
            assert answer in SILENT, name


def test_devices_are_six_and_none_that_it_makes_opens(inside: Answers) -> None:
    assert {Path(name).name for name in of("device", inside)} == DEVICES
    made = of("mknod", inside)
    if inside["status", "CapEff"] == CAPABILITIES and not is_mapped(inside):
        assert set(made.values()) == {"ok"}
        assert set(of("open-made", inside)) == set(made)
        assert set(of("open-made", inside).values()) <= {"EACCES", "EPERM"}
    else:
        assert set(made.values()) <= {"EPERM", "EACCES"}


def test_namespaces_are_its_own(inside: Answers, request: pytest.FixtureRequest) -> None:
    assert is_mapped(inside) == ("userns" in request.node.name)
    for kind, answer in of("namespace", inside).items():
        assert (answer == str(Path(f"/proc/self/ns/{kind}").readlink())) == (
            kind in SHARED_WITH_HOST and not (kind == "user" and is_mapped(inside))
        ), kind


def test_it_holds_three_descriptors_and_no_file_of_the_hosts(inside: Answers) -> None:
    held = of("descriptor", inside)
    assert set(held) == {"0", "1", "2"}
    assert set(held.values()) <= {"/dev/null", "pipe"}


def test_mounts_are_private_and_no_device_opens_but_on_six(inside: Answers) -> None:
    for place, options in of("mount", inside).items():
        words = set(options.split(","))
        assert "shared" not in words, place
        if place.startswith("/proc/"):
            assert "ro" in words or place in ("/proc/interrupts", "/proc/keys", "/proc/timer_list"), place
        elif place not in OPEN_DEVICES:
            assert "nodev" in words, place
    for place in ("/proc", "/sys", "/sys/fs/cgroup", "/dev/shm", "/dev/mqueue"):
        assert {"nosuid", "nodev", "noexec"} <= set(inside["mount", place].split(",")), place
    assert {"ro"} <= set(inside["mount", "/sys"].split(",")) & set(inside["mount", "/sys/fs/cgroup"].split(","))


def test_with_a_user_namespace_no_answer_is_kinder(store: Minirun, program: Path) -> None:
    root, mapped = (probing.of_minirun(store, program, *flags) for flags in ((), ("--userns=auto",)))
    kinder = {
        key: (answer, root.get(key)) for key, answer in mapped.items()
        if key[0] in probing.KINDS and answer == "ok" and root.get(key) != "ok"
    }  # fmt: skip
    assert len(mapped) > 100
    assert not kinder
    stricter = {key[1] for key, answer in root.items() if answer == "ok" and mapped.get(key) != "ok"}
    assert {"kmsg", "disk", "null"} <= stricter  # it makes no device nodes


@pytest.mark.parametrize("mapped", [False, True], ids=["root", "userns"])
def test_nothing_is_answered_that_podman_refuses(store: Minirun, program: Path, mapped: bool) -> None:
    ours = probing.of_minirun(store, program, *(("--userns=auto",) if mapped else ()))
    theirs = probing.of_podman(program, *(probing.PODMANS_MAP if mapped else ()))
    compared = [key for key in theirs if key[0] in ("syscall", "socket", "write", "read", "list", "open-made")]
    assert len(compared) > 80
    looser = {
        key: (ours.get(key), theirs[key]) for key in compared
        if ours.get(key) == "ok" and theirs[key] in (*REFUSED, *UNWRITABLE, *SILENT)
    }  # fmt: skip
    assert not looser
