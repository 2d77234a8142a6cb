"""What pyproject.toml cannot say: the C parts, each left out, with one line, where it cannot be built.

minirun/launch/_plan.c    ─▶  minirun/launch/_plan.<abi>.so    runs a plan in a child (else: ctypes and fork)
minirun/launch/stub.c     ─▶  minirun/launch/stub              static, without libc: the last step of a plan
minirun/launch/keeper.c   ─▶  minirun/launch/keeper            the same: parent of a detached container (else: Python)
minirun/launch/client.c   ─▶  minirun/launch/client            the same: asks for a warm start (else: Python)
minirun/layer/_entries.c  ─▶  minirun/layer/_entries.<abi>.so  the plain entries of a tar (else: Python)
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

LAUNCH = Path("minirun/launch")  # relative to this file: setuptools runs it from its directory
PROGRAMS = ("stub", "keeper", "client")
EXTENSIONS = ("minirun.launch._plan", "minirun.layer._entries")
STATIC_FLAGS = [
    "-static",
    "-nostdlib",
    "-ffreestanding",
    "-Os",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-Wl,--build-id=none",
]


class Build(build_ext):
    """Build the extensions, and beside them the programs, which are executables and so unknown to setuptools."""

    def run(self) -> None:
        """Build what has its source here."""
        super().run()
        for name in PROGRAMS:
            self._program(name)

    def _program(self, name: str) -> None:
        source = LAUNCH / f"{name}.c"
        if not source.exists():
            left_out(name, f"{source} is not here")
            return
        target = (Path() if self.inplace else Path(self.build_lib)) / LAUNCH / name
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
        new = target.with_name(f"{name}.new")
        try:
            subprocess.run([compiler, *STATIC_FLAGS, "-o", str(new), str(source)], check=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            left_out(name, error)
            return
        # Renamed into place: a running container may be executing the old one (ETXTBSY).
        new.replace(target)


def left_out(part: str, reason: object) -> None:
    """Say in one line that *part* is not built."""
    print(f"minirun: {part} is left out: {reason}", file=sys.stderr)  # noqa: T201 - a build script's only voice


def extensions() -> Iterator[Extension]:
    """Yield the extensions whose source is here."""
    for name in EXTENSIONS:
        source = Path(*name.split(".")).with_suffix(".c")
        if not source.exists():
            left_out(source.stem, f"{source} is not here")
            continue
        yield Extension(
            name,
            [str(source)],
            depends=[str(header) for header in sorted(source.parent.glob("*.h"))],
            # every method of an extension takes a self, used or not
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter"],
            optional=True,
        )


setup(ext_modules=[*extensions()], cmdclass={"build_ext": Build})
