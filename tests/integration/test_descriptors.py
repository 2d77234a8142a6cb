"""No descriptor of the host's goes into a container, and no working directory of its leads out."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import busybox
from tests.command import Minirun

ADD_KEY, KEYCTL = 248, 250  # of x86_64
SESSION_KEYRING, UNLINK, SEARCH = -3, 9, 10
KEY = "minirun-test-canary"
LIST = ("ls", "-l", "/proc/self/fd")


def listed(output: str) -> dict[int, str]:
    """What `ls -l /proc/self/fd` says, without the descriptor by which it read that."""
    links = [line.rpartition(" -> ") for line in output.splitlines() if " -> " in line]
    found = {int(left.split()[-1]): target for left, _, target in links}
    return {number: target for number, target in found.items() if not target.endswith("/fd")}


def test_no_descriptor_of_the_callers_but_the_standard_three_goes_in(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    script = f'cd {tmp_path}; exec 3<. 4<>secret 5>>secret 9<.; exec "$@"'
    result = subprocess.run(
        ["sh", "-c", script, "sh", *store.command(("run", "--rm", "busybox", *LIST))],
        env=store.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sorted(listed(result.stdout)) == [0, 1, 2]
    assert str(tmp_path) not in result.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("flags", ["", "-i", "--init"])
def test_a_standard_descriptor_that_was_closed_is_the_null_device_inside(
    store: Minirun, tmp_path: Path, closed: str, flags: str
) -> None:
    script = 'exec 7>/out/list; for n in 0 1 2; do echo "$n -> $(readlink /proc/1/fd/$n)" >&7; done'
    words = store.command(("run", "--rm", *flags.split(), "-v", f"{tmp_path}:/out", "busybox", "sh", "-c", script))
    subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *words], env=store.environment(), check=True,
                   capture_output=True, stdin=subprocess.DEVNULL)  # fmt: skip
    found = dict(line.split(" -> ") for line in (tmp_path / "list").read_text().splitlines())
    for number, sign in (("0", "<&-"), ("1", " >&-"), ("2", "2>&-")):
        if sign in f" {closed}":
            assert found[number] == "/dev/null"
    assert str(store.root) not in str(found)


def test_no_process_in_it_holds_a_path_of_the_host(store: Minirun) -> None:
    script = "ls -l /proc/[0-9]*/fd /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/exe; cat /proc/1/maps; true"
    printed = store("run", "--rm", "--init", "-i", "busybox", "sh", "-c", script, stdin="", check=True).stdout
    assert "/proc/1/cwd -> /home" in printed
    assert "/proc/2/exe" in printed
    for path in (store.root, "/work", "python", "/usr/lib"):
        assert str(path) not in printed


def test_no_working_directory_is_a_descriptor_of_ours(store: Minirun) -> None:
    before = busybox.contents(store.root)
    for number in range(3, 41):
        result = store("run", "-w", f"/proc/self/fd/{number}", "busybox", "pwd")
        assert (result.returncode, result.stdout) == (125, ""), number
        assert "cannot enter the working directory" in result.stderr
    assert busybox.contents(store.root) == before


@pytest.mark.parametrize("path", ["/proc/self/fd/7", "/link", "/proc/self/fd/7/../../..", "/link/tmp", "/proc/1/cwd"])
def test_nor_is_that_of_an_image(store: Minirun, tmp_path: Path, path: str) -> None:
    base = busybox.tree(tmp_path / "image", {"WorkingDir": path})
    (base / "link").symlink_to("/proc/self/fd/7")
    result = store("run", "--rm", tmp_path / "image", "pwd")
    if ".." in path:  # the path as text, as Docker cleans it
        assert result.stdout == "/proc\n"
    else:
        assert (result.returncode, result.stdout) == (125, "")


@pytest.fixture
def key() -> Iterator[str]:
    """A key in the session keyring of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.syscall(ADD_KEY, b"user", KEY.encode(), b"secret", 6, SESSION_KEYRING)
    if number < 0:
        pytest.skip(f"the kernel gives no key: {os.strerror(ctypes.get_errno())}")
    yield KEY
    libc.syscall(KEYCTL, UNLINK, number, SESSION_KEYRING)


# the filter refuses keyctl(2): without it, it is the session's keyring that is another
@pytest.mark.parametrize("flags", [(), ("--security-opt", "seccomp=unconfined")], ids=" ".join)
def test_a_key_of_the_callers_session_is_not_seen(
    userland: Minirun, ubuntu_layers: Path, key: str, flags: tuple[str, ...]
) -> None:
    script = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True);"
        f"print(libc.syscall({KEYCTL}, {SEARCH}, {SESSION_KEYRING}, b'user', b'{key}', 0) > 0, ctypes.get_errno())"
    )
    here = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, text=True, check=True)
    assert here.stdout == "True 0\n"
    there = userland("run", "--rm", *flags, ubuntu_layers, "python3", "-c", script, check=True)
    assert there.stdout == f"False {errno.ENOKEY if flags else errno.EPERM}\n"
