"""A kernel for the guest: Debian's cloud kernel, fetched by apt and unpacked once, into build/vm/<package>/.

linux-image-6.12.117+deb12-cloud-amd64          boot/vmlinuz-6.12.117+deb12-cloud-amd64     what is booted
linux-image-6.1.0-56-cloud-amd64                lib/modules/<release>/modules.dep           which module needs which
                                                lib/modules/<release>/modules.builtin       what is no module

apt vouches for the package. It is unpacked beside its place and renamed when it is whole, so what is there is complete.
"""

from __future__ import annotations

import fcntl
import lzma
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / "build/vm"


class NoGuest(Exception):
    """There is no guest to run anything in; the words say why and what to do."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked package."""

    folder: Path

    @property
    def release(self) -> str:
        """What `uname -r` will print."""
        return next((self.folder / "lib/modules").iterdir()).name

    @property
    def image(self) -> Path:
        """What a boot loader loads."""
        return self.folder / "boot" / f"vmlinuz-{self.release}"

    def modules(self, wanted: Iterable[str]) -> list[tuple[str, bytes]]:
        """Return the modules *wanted* and those they need as (name, ELF file), in the order to load them.

        Left out is what this kernel has built in. See depmod(8), modprobe(8).

        Raises:
            NoGuest: the kernel has it neither built in nor as a module.
        """
        folder = self.folder / "lib/modules" / self.release
        builtin = {_name(line) for line in (folder / "modules.builtin").read_text().splitlines()}
        needs, paths = {}, {}
        for line in (folder / "modules.dep").read_text().splitlines():
            path, _, others = line.partition(":")
            needs[_name(path)] = [_name(other) for other in others.split()]
            paths[_name(path)] = folder / path
        found: dict[str, bytes] = {}
        for name in wanted:
            if name in builtin:
                continue
            if name not in paths:
                raise NoGuest(f"the kernel {self.release} has no module {name}: choose another by --kernel")
            # modules.dep lists the nearest need first; what is needed by that comes behind it
            for one in (*reversed(needs[name]), name):
                data = paths[one].read_bytes()
                found.setdefault(one, lzma.decompress(data) if paths[one].suffix == ".xz" else data)
        return list(found.items())


def _name(path: str) -> str:
    # a file may be called virtio-rng.ko.xz, and its module is virtio_rng
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def kernel(series: str) -> Kernel:
    """Return the newest kernel of *series* (``6.12``): the one that was fetched before, or else what apt has.

    Raises:
        NoGuest: apt has none, or it could not be fetched.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = _of_series(series, os.listdir(CACHE))
        return Kernel(CACHE / (there or _fetched(series)))


def _of_series(series: str, names: Iterable[str]) -> str:
    """Return the newest package of *series* among *names*, or nothing; unsigned and debug ones are others."""
    pattern = re.compile(rf"linux-image-{re.escape(series)}\.\d+[-+.\w]*-cloud-amd64")
    return max(
        filter(pattern.fullmatch, names), key=lambda name: [int(n) for n in re.findall(r"\d+", name)], default=""
    )


def _fetched(series: str) -> str:
    """Fetch and unpack the newest kernel of *series*; return its package's name."""
    for updated in (False, True):
        if updated:  # apt had no list yet, or an old one that names what the mirror has no longer
            _run("apt-get", "-qq", "update")
        package = _of_series(series, _run("apt-cache", "pkgnames", f"linux-image-{series}.").stdout.split())
        if package and _unpacked(package):
            return package
    raise NoGuest(
        f"apt has no linux-image-{series}.*-cloud-amd64 that it can fetch: "
        "Debian 12 has 6.1, and 6.12 in its security archive; `apt-get update` says what is wrong with the archives"
    )


def _unpacked(package: str) -> bool:
    """Put *package* into CACHE; False when apt could not fetch it."""
    making = CACHE / ".unpacking"  # the lock is held: one at a time
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    try:
        # apt's own user may not write here; what it fetches is verified all the same
        if _run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=making).returncode != 0:
            return False
        (archive,) = making.glob("*.deb")
        tree = making / "tree"
        if (result := _run("dpkg-deb", "--extract", archive, tree)).returncode == 0:
            result = _run("depmod", "--basedir", tree, Kernel(tree).release)
        if result.returncode != 0:
            raise NoGuest(f"cannot unpack {archive.name}: {result.stderr.strip()}")
        tree.rename(CACHE / package)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return True


def _run(*words: str | Path, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
