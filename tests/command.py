"""minirun as its users start it: the launcher, in a process of its own, with a store of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from errno import ETXTBSY
from pathlib import Path
from typing import TypeVar

from tests import commoner

# how many times as long what is to be quick may take: a guest's processor is emulated (docs/vm.md)
PATIENCE = 20 if "MINIRUN_TEST_GUEST" in os.environ else 1
LAUNCHER = Path(__file__).resolve().parent.parent / ".venv/bin/minirun"
# MINIRUN_TEST_WARM=1: by the client of warm starts, with a resident process of the session's: see tests/conftest.py
WARM = os.environ.get("MINIRUN_TEST_WARM", "0") != "0"
CLIENT = LAUNCHER.with_name("minirun-warm") if WARM else LAUNCHER
SOCKET: list[str] = []  # of that process, once it is there
_BUSY_TRIES, _BUSY_S = 50, 0.01
Done = TypeVar("Done")


def executed(execute: Callable[[], Done]) -> Done:
    """What *execute* returns, which executes a program.

    Tests that try to open programs for writing, in another lane, have the kernel refuse to execute them meanwhile, for
    some microseconds, also where they are refused in the end: ETXTBSY.
    """
    for _ in range(_BUSY_TRIES):
        try:
            return execute()
        except OSError as error:
            if error.errno != ETXTBSY:
                raise
            time.sleep(_BUSY_S)
    return execute()


@dataclass(frozen=True, slots=True)
class Minirun:
    """A store and a runtime directory, and the command that works on them."""

    root: Path
    runtime: Path
    commoner: bool = field(default=commoner.EVERYWHERE, kw_only=True)  # whether an ordinary user runs it

    def __call__(
        self,
        *arguments: str | Path,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = False,
        timeout_s: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run `minirun *arguments*` to its end.

        Args:
            arguments: what comes after the command's name.
            stdin: what it reads; None is /dev/null.
            env: added to this process's environment, of which MINIRUN_* are its own.
            check: whether a status other than 0 fails the test.
            timeout_s: after this the command is killed and the test fails.

        Returns:
            Status and output; bytes that are no UTF-8 are surrogates.
        """
        result = executed(
            lambda: subprocess.run(
                self.command(arguments),
                env=self.environment(env),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
                timeout=timeout_s,
                check=False,
            )
        )
        if check and result.returncode != 0:
            raise AssertionError(
                f"minirun {' '.join(map(str, arguments))}: status {result.returncode}\n{result.stdout}{result.stderr}"
            )
        return result

    def start(
        self,
        *arguments: str | Path,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start `minirun *arguments*` and return it running; use it as a context manager, and end it."""
        return executed(
            lambda: subprocess.Popen(
                self.command(arguments), env=self.environment(env), stdin=stdin, stdout=stdout, stderr=stderr
            )
        )

    def command(self, arguments: Sequence[str | Path]) -> list[str]:
        """Return the words to execute."""
        if not CLIENT.exists():
            raise FileNotFoundError(f"{CLIENT} is not there: run `sudo make setup`")
        if not self.commoner:
            return [str(CLIENT), *map(str, arguments)]
        commoner.give(self.root, self.runtime)
        return [*commoner.words(), str(CLIENT), *map(str, arguments)]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return this process's environment with this store's MINIRUN_*, and *extra*."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MINIRUN_")}
        # nobody listens there: what a test asks of a registry that is not on loopback never leaves this host
        nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
        # most tests are of something else than networks; a bridge for each store would take them twice as long
        own = {"MINIRUN_ROOT": str(self.root), "MINIRUN_RUNTIME": str(self.runtime), "MINIRUN_NETWORK": "none"}
        own |= {"MINIRUN_WARM": SOCKET[0]} if SOCKET else {}
        brief = {"MINIRUN_NAMES_LINGER_S": "0.3"}  # or an attendant would be left behind for a minute
        home = {"HOME": "/nonexistent"} if self.commoner else {}  # root's is closed to him
        return {**plain, **nowhere, **own, **brief, **home, **(extra or {})}
