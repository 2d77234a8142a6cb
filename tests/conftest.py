"""What every test may ask for: built root file systems, a minirun with an empty store, one that has an image."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import command, commoner, host, lanes
from tests.command import Minirun
from tests.resident import resident

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1  # netdevice(7)
FIXTURES = Path(__file__).resolve().parent.parent / "rootfs-fixtures"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --lanes."""
    lanes.add_option(parser)


@pytest.hookimpl(tryfirst=True)  # pytest's own runs the tests
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Open the lanes that are asked for."""
    lanes.open_lanes(config)


@pytest.hookimpl(tryfirst=True)  # pytest's own makes the directory for temporary ones
def pytest_configure(config: pytest.Config) -> None:
    """Have SIGINT as a terminal has it: shells ignore it for what they start in the background, and its children do."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if commoner.EVERYWHERE and not config.option.basetemp:
        config.option.basetemp = f"{commoner.folder()}/base"  # pytest's usual place is closed to everybody but root
    if os.geteuid() == 0:
        _leave_the_network()
    # the same examples every day; MINIRUN_TEST_THOROUGH looks for new ones
    settings.register_profile("daily", derandomize=True, deadline=None)
    if not os.environ.get("MINIRUN_TEST_THOROUGH"):
        settings.load_profile("daily")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what an ordinary user cannot have, with the reason: see commoner.py."""
    for item in items:
        if reason := commoner.rootful(item.path, item.name):
            item.add_marker(pytest.mark.skip(reason=reason))


def _leave_the_network() -> None:
    """Be in a network namespace of the tests' own, with loopback: nothing that they do is done to the host's network.

    Whatever is started later is there, too. See network_namespaces(7).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaker:
        fcntl.ioctl(speaker, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))


def built(target: str) -> Path:
    """Build rootfs-fixtures/out/*target*, unless it is there as its recipe has it."""
    if os.geteuid() != 0:
        pytest.skip("root file systems are built by root")
    subprocess.run([FIXTURES / "build", target], check=True)
    return FIXTURES / "out" / target


@pytest.fixture(scope="session")
def busybox_layers() -> Path:
    """A directory of four small layers and an image.json; see rootfs-fixtures/busybox-layers/README.md."""
    return built("busybox-layers")


@pytest.fixture(scope="session")
def busybox_oci() -> Path:
    """The same image as OCI layout, by umoci."""
    return built("busybox-oci")


@pytest.fixture(scope="session")
def busybox_docker() -> Path:
    """The same image as the directory of an unpacked docker-save archive, by skopeo."""
    return built("busybox-docker")


@pytest.fixture(scope="session")
def busybox_docker_tar() -> Path:
    """The same image as docker-save archive, by skopeo."""
    return built("busybox-docker.tar")


@pytest.fixture(scope="session")
def ubuntu_layers() -> Path:
    """A directory of three layers with a whole Debian or Ubuntu; see rootfs-fixtures/ubuntu-layers/README.md."""
    return built("ubuntu-layers")


@pytest.fixture(scope="session")
def ubuntu_oci() -> Path:
    """The same image as OCI layout, by umoci."""
    return built("ubuntu-oci")


@pytest.fixture(scope="session")
def ubuntu_docker() -> Path:
    """The same image as the directory of an unpacked docker-save archive, by skopeo."""
    return built("ubuntu-docker")


@pytest.fixture(scope="session")
def ubuntu_docker_tar() -> Path:
    """The same image as docker-save archive, by skopeo."""
    return built("ubuntu-docker.tar")


@pytest.fixture(autouse=True, scope="session")
def warm() -> Iterator[None]:
    """With MINIRUN_TEST_WARM=1, have containers started by a resident process: docs/warm-start.md."""
    if not command.WARM or os.geteuid() != 0:
        yield
        return
    with resident() as (socket_path, _):
        command.SOCKET.append(str(socket_path))
        yield
        command.SOCKET.clear()


if commoner.EVERYWHERE:
    _mktemp = pytest.TempPathFactory.mktemp

    def _his(self: pytest.TempPathFactory, basename: str, numbered: bool = True) -> Path:
        folder = _mktemp(self, basename, numbered)
        os.chown(folder, commoner.UID, commoner.UID)
        commoner.give(folder)
        return folder

    setattr(pytest.TempPathFactory, "mktemp", _his)  # tests' directories are his own  # noqa: B010 - mypy


@pytest.fixture
def minirun(tmp_path: Path) -> Minirun:
    """The command, with a store that is empty and this test's own."""
    return Minirun(tmp_path / "minirun-root", tmp_path / "minirun-runtime")


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory, busybox_layers: Path) -> Path:
    """A store in which the image `busybox` is; to be copied, not used."""
    home = tmp_path_factory.mktemp("imported")
    Minirun(home / "root", home / "runtime")("import", busybox_layers, "busybox", check=True)
    return home / "root"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, imported: Path) -> Minirun:
    """The command, with a store that has the image `busybox`, and that the tests of one file share."""
    home = tmp_path_factory.mktemp("store")
    # Whiteouts, owners and trusted.overlay.* xattrs all matter: cp keeps them for root.
    subprocess.run(["cp", "--archive", "--reflink=auto", imported, home / "root"], check=True)
    return Minirun(home / "root", home / "runtime")


@pytest.fixture(scope="module")
def podmans() -> Iterator[Path]:
    """A directory for podman's store; not among pytest's, for it refuses a runroot of more than 50 letters."""
    with tempfile.TemporaryDirectory(prefix="podman-") as folder:
        yield Path(folder)


@pytest.fixture
def leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail a test that leaves anything on the host, or takes anything from it."""
    own = tmp_path_factory.getbasetemp()
    before = host.snapshot(own)
    yield
    found = host.settled_difference(before, own)
    # Also where that fails: pytest removes the directory later, and would reach through a mount that is left in it.
    host.unmount_below(own)
    if found:
        pytest.fail("the host is not as it was:\n  " + "\n  ".join(found), pytrace=False)
