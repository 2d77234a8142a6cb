"""The order of a plan is its security: what must come before what, whatever the container is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from minirun.errors import BadInput, CommandNotExecutable, CommandNotFound
from minirun.kernel.call import Call
from minirun.kernel.names import (
    AT_FDCWD,
    CLONE_NEWNET,
    O_CLOEXEC,
    PR_CAPBSET_DROP,
    PR_SET_KEEPCAPS,
    PR_SET_NO_NEW_PRIVS,
)
from minirun.launch.machine import CallFailed
from minirun.launch.plan import namespaces, plan
from minirun.launch.refusal import not_executed, refusal
from minirun.launch.spec import Spec
from minirun.rootfs.attach import STUB
from minirun.rootfs.devices import Device
from minirun.rootfs.overlay import Overlay
from minirun.rootfs.volumes import Tmpfs, Volume
from minirun.security import masks
from minirun.security.seccomp import Filter
from minirun.security.user import User

FILTER = Filter(4, b"\6\0\0\0\0\0\xff\x7f", by_path=False)


def spec(**changes: object) -> Spec:
    """A container with something of everything."""
    fields: dict[str, object] = {
        "overlay": Overlay("/store/diffs", ["base", "top"], "../upper", "../work", volatile=False),
        "attach_point": "/run/root",
        "read_only": True,
        "hostname": "box",
        "network": "none",
        "network_namespace": None,
        "shared": {},
        "sysctls": [("net.ipv4.ip_forward", "1")],
        "files": [Volume("/store/hosts", "/etc/hosts", read_only=False, directory=False, own=True)],
        "volumes": [Tmpfs("/run", [("mode", "1777")], 0), Volume("/srv", "/data", read_only=True, directory=True)],
        "terminal": None,
        "stdin": False,
        "redirects": (),
        "devices": [Device("net/tun", block=False, number=0xAC8, permissions=0o666, uid=0, gid=5)],
        "makes_devices": False,
        "masks": masks.DEFAULT,
        "privileged": False,
        "user": User(1000, 1000, [1000, 50], "/"),
        "capabilities": 0xA80425FB,
        "cwd": "/srv/work",
        "argv": ["true"],
        "env": ["PATH=/a:/b"],
        "init": False,
        "labels": (),
        "seccomp": FILTER,
        "no_new_privileges": True,
        "stub": "/lib/stub",
        "shm_bytes": 1 << 20,
        "has_cgroup": True,
        "cgroup_namespace": True,
        "rlimits": [(7, 64, 128)],
        "oom_score_adj": 500,
        "status": 7,
        "userns": None,
        "tty": 5,
    }
    return Spec(**{**fields, **changes})


def named(name: str, *words: object) -> Callable[[Call], bool]:
    return lambda call: call.name == name and all(any(word == arg for arg in call.args) for word in words)


def mounting(kind: str) -> Callable[[Call], bool]:
    return named("fsopen", kind)


ORDER = [
    ("private mounts before any other", named("mount", "/"), named("open_tree")),
    ("sources before the root is left", named("openat2", "/srv"), named("pivot_root")),
    ("the host's root gone before anything of the image is looked up", named("umount2", "."), named("openat2", "/dev")),
    ("volumes before /proc, which none can then hide", named("move_mount", "/data"), mounting("proc")),
    ("the working directory made before /proc", named("mkdirat", "/srv/work"), mounting("proc")),
    ("masks after /proc", mounting("proc"), named("openat", "/proc/kcore")),
    ("the OOM score while the host's /proc is there", named("openat", "/proc/self/oom_score_adj"), named("pivot_root")),
    ("limits while there may be a capability to raise them", named("prlimit64"), named("setresuid")),
    ("bounding set while it may be changed", named("prctl", PR_CAPBSET_DROP), named("setresuid")),
    ("groups before the user", named("setgroups"), named("setresuid")),
    ("the group before the user", named("setresgid"), named("setresuid")),
    ("capabilities after the user, who would lose them", named("setresuid"), named("capset")),
    ("descriptors closed when no more are needed", named("capset"), named("close_range")),
    ("all calls that are ours before the filter", named("close_range"), named("seccomp")),
    ("no new privileges, for without them who is not root may install one", named("prctl", PR_SET_NO_NEW_PRIVS),
     named("seccomp")),
    ("and the command at last", named("seccomp"), named("execveat")),
]  # fmt: skip


@pytest.mark.parametrize(("_why", "first", "then"), ORDER, ids=[why for why, _, _ in ORDER])
@pytest.mark.parametrize("by_options", [False, True])
def test_one_comes_before_the_other(
    _why: str, first: Callable[[Call], bool], then: Callable[[Call], bool], by_options: bool
) -> None:
    calls = plan(spec(), by_options=by_options)
    firsts = [index for index, call in enumerate(calls) if first(call)]
    thens = [index for index, call in enumerate(calls) if then(call)]
    assert firsts
    assert thens
    assert max(firsts) < min(thens)


def test_the_host_network_has_no_namespace_and_no_loopback_of_its_own() -> None:
    assert namespaces(spec()) & CLONE_NEWNET
    assert any(call.name == "socket" for call in plan(spec()))
    assert not namespaces(spec(network="host")) & CLONE_NEWNET
    assert not any(call.name == "socket" for call in plan(spec(network="host")))


def test_who_is_not_root_keeps_no_capability() -> None:
    def kept(user: User) -> str:
        return next(repr(call) for call in plan(spec(user=user)) if call.name == "capset")

    assert "effective=permitted=0x0" in kept(User(1, 0, [], "/"))
    assert "effective=permitted=0xa80425fb" in kept(User(0, 1, [], "/"))


@pytest.mark.parametrize("uid", [0, 1])
def test_a_filter_is_installed_with_cap_sys_admin_which_ends_with_the_exec_right_after(uid: int) -> None:
    calls = plan(spec(user=User(uid, uid, [], "/"), no_new_privileges=False))
    sets = next(repr(call) for call in calls if call.name == "capset")
    assert f"effective=permitted={0x200000 | (0 if uid else 0xA80425FB):#x}, inheritable=0" in sets
    assert any(named("prctl", PR_SET_KEEPCAPS)(call) for call in calls) is bool(uid)
    assert [call.name for call in calls[-2:]] == ["seccomp", "execveat"]
    assert any(named("prctl", PR_CAPBSET_DROP, 21)(call) for call in calls)


def test_without_a_filter_that_capability_is_not_kept() -> None:
    calls = plan(spec(seccomp=None, no_new_privileges=False))
    assert "effective=permitted=0x0" in next(repr(call) for call in calls if call.name == "capset")
    assert not any(call.name == "seccomp" or named("prctl", PR_SET_KEEPCAPS)(call) for call in calls)
    assert calls[-1].name == "execveat"


@pytest.mark.parametrize(("status", "place"), [(7, 3), (3, 4)])
def test_where_execveat_is_not_allowed_the_stub_is_executed_by_a_path(status: int, place: int) -> None:
    calls = plan(spec(seccomp=Filter(0, b"", by_path=True), status=status))
    assert calls[-1].name == "execve"
    assert calls[-1].args[0] == f"/proc/self/fd/{place}"
    moved = next(index for index, call in enumerate(calls) if named("dup3", STUB, place)(call))
    assert calls[moved].args[2] == O_CLOEXEC
    assert not any(call.name == "close_range" for call in calls[moved:])


def test_layers_are_stacked_topmost_first() -> None:
    lower = [call.args[3] for call in plan(spec()) if "lowerdir+" in call.args]
    assert lower == ["top", "base"]
    calls = plan(spec(), by_options=True)
    assert [call.args for call in calls if call.name == "symlinkat"][:2] == [
        ("/store/diffs/base", AT_FDCWD, "0"),
        ("/store/diffs/top", AT_FDCWD, "1"),
    ]
    assert "lowerdir=1:0,upperdir=u,workdir=w," in next(str(call) for call in calls if "lowerdir=" in str(call))


def test_without_a_stub_each_folder_of_path_is_tried() -> None:
    calls = plan(spec(stub="", argv=["true", "x"]))
    assert [call.args[0] for call in calls if call.name == "execve"] == ["/a/true", "/b/true"]
    calls = plan(spec(stub="", argv=["./true"]))
    assert [call.args[0] for call in calls if call.name == "execve"] == ["./true"]


def test_a_spec_takes_no_field_twice_and_no_unknown_one() -> None:
    with pytest.raises(TypeError):
        Spec(argv=["true"])
    with pytest.raises(AttributeError):
        spec(unknown=1)


@pytest.mark.parametrize(
    ("chosen", "errno", "kind", "said"),
    [
        (named("openat2", "/proc"), 40, BadInput, "/proc of the image is not a real directory"),
        (named("openat2", "/srv/work"), 20, BadInput, "cannot enter the working directory /srv/work: ENOTDIR"),
        (named("move_mount", "/data"), 20, BadInput, "cannot attach at /data"),
        (named("mkdirat", "/data"), 30, BadInput, "cannot attach at /data"),
        (lambda call: call.name == "fsconfig" and call.why.startswith("stack"), 116, Exception, "export the container"),
        (named("sethostname"), 1, Exception, "run as root"),
    ],
)
def test_a_failed_call_is_told_as_what_it_was_for(
    chosen: Callable[[Call], bool], errno: int, kind: type[Exception], said: str
) -> None:
    whole = spec()
    call = next(call for call in plan(whole) if chosen(call))
    error = refusal(whole, CallFailed(call, errno))
    assert isinstance(error, kind)
    assert said in f"cannot {error}" if not str(error).startswith("cannot") else said in str(error)


def test_a_command_that_does_not_begin_is_missing_or_not_executable() -> None:
    for errno, kind in (
        (2, CommandNotFound),
        (20, CommandNotFound),
        (13, CommandNotExecutable),
        (8, CommandNotExecutable),
    ):
        assert type(not_executed("x", errno)) is kind
