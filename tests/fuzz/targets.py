"""What is fuzzed: each takes any bytes, and only the one error that it announces may come of them.

headers   bytes ─▶ tar.Reader                                   thousands a second
blobs     bytes ─▶ compression.detect ─▶ pieces ─▶ tar.Reader
layers    bytes ─▶ unpack ─▶ complete, on a lower directory     hundreds a second
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from minirun.errors import BadLayer, MinirunError
from minirun.home import Home
from minirun.image import spool
from minirun.image.recognition import recognise_all
from minirun.kernel import tree
from minirun.layer import compression, tar
from minirun.layer.field import Malformed
from minirun.layer.unpack import complete, unpack
from tests.trees import describe

TIME_MAX_S = 5.0  # processor time of one input
PIECES = (300, 512, 513, 4096, 1 << 18)
Target = Callable[[bytes], bool]


class TooSlow(Exception):
    """An input took longer than TIME_MAX_S."""


def headers(data: bytes) -> bool:
    """Read the entries of an archive; tells whether it was whole."""
    size = PIECES[len(data) % len(PIECES)]
    return _entries(data[at : at + size] for at in range(0, len(data), size))


def blobs(data: bytes) -> bool:
    """Decompress a blob and read the entries in it."""
    parts = iter((data[:600], data[600:]))
    try:
        return _entries(compression.pieces(compression.detect(data[:512]), lambda: next(parts, b"")))
    except Malformed:
        return False


def _entries(chunks: Iterator[bytes]) -> bool:
    with open("/dev/null", "wb", buffering=0) as nowhere:  # noqa: PTH123 - thousands a second
        try:
            reader = tar.Reader(chunks)
            while (entry := reader.next()) is not None:
                if entry.kind == tar.FILE and entry.size % 2:  # others are skipped over
                    if entry.regions is not None:
                        entry.size, entry.regions = sum(length for _offset, length in entry.regions), None
                    reader.copy(entry, nowhere.fileno())
        except Malformed:
            return False
    return True


class Layers:
    """Unpacks every input in a directory beside others that must not change.

    Args:
        scratch: an empty directory.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        (scratch / "lower/d").mkdir(parents=True)
        (scratch / "lower/d/f").write_bytes(b"lower")
        (scratch / "lower/s").symlink_to("d")
        (scratch / "canary").write_bytes(b"canary")
        self._before = describe(scratch, overlay=True)

    def __call__(self, data: bytes) -> bool:
        """Unpack a blob; tells whether it was taken."""
        into = self.scratch / "into"
        into.mkdir()
        try:
            unpacked = unpack([data], str(into))
            complete(unpacked, str(into), [str(self.scratch / "lower")])
        except BadLayer:
            return False
        else:
            return True
        finally:
            tree.remove(str(into))

    def check(self) -> None:
        """Insist that nothing changed beside the directory."""
        now = describe(self.scratch, overlay=True)
        now[b""] = self._before[b""]  # its time
        assert now == self._before
        assert len(os.listdir("/proc/self/fd")) < 50


class Images:
    """Reads every input as an archive of images, as far as `load` reads it before anything is unpacked.

    Args:
        scratch: an empty directory.
    """

    def __init__(self, scratch: Path) -> None:
        self.home = Home(str(scratch / "root"), str(scratch / "runtime"))
        self.home.create()

    def __call__(self, data: bytes) -> bool:
        """Recognise what is in an archive; tells whether it was taken."""
        descriptor = os.memfd_create("archive")
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            with spool.open_descriptor(self.home, "archive", descriptor) as contents:
                for manifest in recognise_all(contents, None):
                    assert all(part.name for part in manifest.parts)
        except MinirunError:
            return False
        return True

    def check(self) -> None:
        """Insist that nothing is left."""
        assert not os.listdir(self.home.folder("tmp"))
        assert len(os.listdir("/proc/self/fd")) < 50


def timed(target: Target, data: bytes) -> bool:
    """Call *target*, and raise TooSlow where that takes too long."""
    begin = time.process_time()
    taken = target(data)
    if time.process_time() - begin > TIME_MAX_S:
        raise TooSlow(f"{time.process_time() - begin:.1f} s for {len(data)} bytes")
    return taken
