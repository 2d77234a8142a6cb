"""What is hidden from a container, and read-only: by default, and with mask=, unmask= and systempaths=."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minirun.security import masks
from tests.command import Minirun
from tests.running import running

HIDDEN = ["/proc/keys", "/proc/timer_list", "/sys/firmware"]
# a line for each that is hidden, and for each that may not be changed
PROBE = """
for path in /proc/keys /proc/timer_list; do [ "$(head -c 1 $path | wc -c)" = 1 ] || echo hidden $path; done
[ -n "$(ls /sys/firmware)" ] || echo hidden /sys/firmware
for path in /proc/sys/kernel/panic /proc/irq/default_smp_affinity; do
    (: >>$path) 2>/dev/null || echo read-only $path
done
mkdir /sys/fs/cgroup/x 2>/dev/null && rmdir /sys/fs/cgroup/x || echo read-only /sys/fs/cgroup
(: >/sys/kernel/mm/ksm/run) 2>/dev/null && echo writable /sys; true
"""
READ_ONLY = ["/proc/sys/kernel/panic", "/proc/irq/default_smp_affinity", "/sys/fs/cgroup"]


def options(*values: str) -> list[str]:
    return [word for value in values for word in ("--security-opt", value)]


def seen(store: Minirun, *flags: str) -> tuple[list[str], list[str]]:
    """What of HIDDEN is hidden, and of READ_ONLY is read-only; nothing else of /sys may ever be written."""
    lines = store("run", "--rm", *flags, "busybox", "sh", "-c", PROBE, check=True).stdout.splitlines()
    assert "writable /sys" not in lines or "--privileged" in flags
    found: dict[str, list[str]] = {"hidden": [], "read-only": [], "writable": []}
    for line in lines:
        kind, path = line.split()
        found[kind].append(path)
    return found["hidden"], found["read-only"]


@pytest.mark.parametrize(
    ("values", "hidden", "read_only"),
    [
        ((), HIDDEN, READ_ONLY),
        (("unmask=ALL",), [], []),
        (("systempaths=unconfined",), [], ["/sys/fs/cgroup"]),
        (("unmask=/proc/keys",), ["/proc/timer_list", "/sys/firmware"], READ_ONLY),
        (("unmask=/proc/*",), ["/sys/firmware"], ["/sys/fs/cgroup"]),
        (("unmask=/proc/[^s]*:/sys/firmware/",), [], ["/proc/sys/kernel/panic", "/sys/fs/cgroup"]),
        (("unmask=/proc/sys", "unmask=/proc/timer_????"), ["/proc/keys", "/sys/firmware"], READ_ONLY[1:]),
        (("unmask=/proc", "unmask=/sys", "unmask=/*"), HIDDEN, READ_ONLY),
        (("unmask=/sys/fs/cgroup",), HIDDEN, READ_ONLY[:2]),
        (("writable-cgroups",), HIDDEN, READ_ONLY[:2]),
        (("writable-cgroups=true", "writable-cgroups=false"), HIDDEN, READ_ONLY),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_what_is_lifted_is_lifted_and_nothing_else(
    store: Minirun, values: tuple[str, ...], hidden: list[str], read_only: list[str]
) -> None:
    assert seen(store, *options(*values)) == (hidden, read_only)


def test_what_is_privileged_sees_all_but_what_is_hidden_by_name(store: Minirun) -> None:
    assert seen(store, "--privileged") == ([], [])
    assert seen(store, "--privileged", *options("mask=/proc/keys")) == (["/proc/keys"], [])


def test_files_and_directories_of_the_image_and_of_volumes_are_hidden_by_name(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/inside").touch()
    flags = (*options("mask=/etc/group:/data/secret", "mask=/data/folder:/no/such/path"), "-v", f"{tmp_path}:/data")
    script = "cat /etc/group /data/secret; ls /data/folder; echo x >/data/secret; touch /data/folder/x 2>&1; echo end"
    lines = store("run", "--rm", *flags, "busybox", "sh", "-c", script, check=True).stdout.splitlines()
    assert lines == ["touch: /data/folder/x: Read-only file system", "end"]
    assert (tmp_path / "secret").read_text() == "secret"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["inside"]


def test_a_mask_holds_for_commands_that_join_and_cannot_be_taken_off(store: Minirun) -> None:
    with running(store, "masked", "sleep", "1000", flags=options("mask=/etc/group")):
        script = "cat /etc/group; umount /etc/group 2>&1"
        found = store("exec", "masked", "sh", "-c", script)
        assert "can't unmount /etc/group: Operation not permitted" in found.stdout


def test_inspect_tells_what_is_hidden(store: Minirun) -> None:
    def told(*flags: str) -> dict[str, Any]:
        store("create", "--name", "told", *flags, "busybox", "true", check=True)
        try:
            return dict(json.loads(store("inspect", "-f", "{{json .HostConfig}}", "told", check=True).stdout))
        finally:
            store("rm", "told", check=True)

    found = told(*options("mask=/etc/group", "unmask=/proc/*"))
    assert found["MaskedPaths"] == ["/sys/devices/virtual/powercap", "/sys/firmware", "/etc/group"]
    assert found["ReadonlyPaths"] == []
    assert found["SecurityOpt"] == ["mask=/etc/group", "unmask=/proc/*"]
    found = told()
    assert found["MaskedPaths"] == [*masks.HIDDEN_FILES, *masks.HIDDEN_DIRECTORIES]
    assert (found["ReadonlyPaths"], found["SecurityOpt"]) == ([*masks.READ_ONLY], None)
    found = told(*options("systempaths=unconfined"))
    assert (found["MaskedPaths"], found["ReadonlyPaths"]) == ([], [])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("mask=/", "'/' is no absolute path below /"), ("mask=etc", "'etc' is no absolute path"),
        ("mask=/etc:", "'' is no absolute path"), ("mask=ALL", "'ALL' is no absolute path"),
        ("unmask=keys", "'keys' is no absolute path"), ("mask=", "it is none that is known"),
        ("systempaths=confined", "it is none that is known"), ("writable-cgroups=perhaps", "it is on or off"),
        ("mask=/proc/self/exe", "ELOOP"),
    ],
)  # fmt: skip
def test_what_names_no_path_is_refused(store: Minirun, value: str, said: str) -> None:
    result = store("run", "--rm", *options(value), "busybox", "true")
    assert (result.returncode, said in result.stderr) == (125, True), result.stderr
