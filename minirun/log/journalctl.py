"""A container's lines, read from systemd's journal by its own `journalctl`.

    journalctl --output=json CONTAINER_ID_FULL=<id>   ─▶  an object a line   ─▶  entries as of any other log
    "MESSAGE": "text", or the numbers of its bytes where that is no text, or null where it is too long to show

What a container printed just before its end may come a moment later.
"""

from __future__ import annotations

import os
import select
import subprocess
import time

from minirun.errors import MinirunError, Unsupported
from minirun.kernel import jsonfile
from minirun.log.entries import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from minirun.log.entries import Entry

_CHUNK_BYTES = 256 << 10
_PATIENCE_S = 0.5
_LAST_WORDS_S = 1.0  # until what the journal got before the container's end has come out of it
_ATTEMPT = "read the journal"


def read(
    container_id: str, ended: Callable[[], bool], *, follow: bool, begin: str, end: str, lines: int | None
) -> Iterator[list[Entry]]:
    """The entries of a container; the arguments are those of engine.logs.read, times as logs have them.

    Raises:
        Unsupported: there is no journalctl.
        MinirunError: it refused.
    """
    command = [
        "journalctl", "--quiet", "--no-pager", "--all", "--output=json",
        "--output-fields=MESSAGE,PRIORITY,SYSLOG_TIMESTAMP,CONTAINER_PARTIAL_MESSAGE",
        f"--lines={'all' if lines is None else lines}", f"CONTAINER_ID_FULL={container_id}",
    ]  # fmt: skip
    for flag, text in (("since", begin), ("until", end)):
        if text:
            command.append(f"--{flag}={text[:10]} {text[11:26]} UTC")
    if follow and not ended():
        command.append("--follow")
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise Unsupported(
            _ATTEMPT, "this host has no journalctl",
            f"install systemd; on another host: `journalctl CONTAINER_ID_FULL={container_id}`",
        ) from None  # fmt: skip
    return _entries(process, ended, follow="--follow" in command)


def _entries(process: subprocess.Popen[bytes], ended: Callable[[], bool], *, follow: bool) -> Iterator[list[Entry]]:
    assert process.stdout is not None
    assert process.stderr is not None
    source = process.stdout.fileno()
    rest, last = b"", float("inf")
    try:
        while True:
            if not select.select([source], [], [], _PATIENCE_S)[0]:
                if follow and last == float("inf") and ended():
                    last = time.monotonic() + _LAST_WORDS_S
                if time.monotonic() > last:
                    return
                continue
            data = os.read(source, _CHUNK_BYTES)
            if not data:
                break
            whole, newline, rest = (rest + data).rpartition(b"\n")
            if newline and (found := [_entry(line) for line in whole.split(b"\n")]):
                yield found
        said = process.stderr.read().decode(errors="replace").strip()
        if process.wait() and said:
            raise MinirunError(_ATTEMPT, said.splitlines()[0], "look at it yourself: `journalctl -n 10`")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _entry(line: bytes) -> Entry:
    fields: dict[str, Any] = jsonfile.loads(line.decode())
    message = fields.get("MESSAGE") or ""
    data = bytes(message) if isinstance(message, list) else message.encode("utf-8", "surrogatepass")
    if "CONTAINER_PARTIAL_MESSAGE" not in fields:
        data += b"\n"
    # before our own time there is the journal's, in microseconds: for what others wrote with these fields
    when = fields.get("SYSLOG_TIMESTAMP") or stamp(int(fields["__REALTIME_TIMESTAMP"]) * 1000)
    return "stderr" if fields.get("PRIORITY") == "3" else "stdout", str(when), data, {}
