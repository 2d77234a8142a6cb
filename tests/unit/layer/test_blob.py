"""A blob that is read lets go of what it came from, however that ends."""

from __future__ import annotations

import gc
import gzip
import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.layer import pack
from minirun.layer.blob import Blob
from minirun.layer.field import Malformed

WHOLE = gzip.compress(random.Random(1).randbytes(1_000_000), mtime=0)
DAMAGED = WHOLE[:100_000] + b"DAMAGE" + WHOLE[100_006:]


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What refers to itself is not freed meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def chunks(path: Path) -> Iterator[bytes]:
    """A file, as it comes from whoever has it open."""
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(4096):
            yield chunk


def descriptors(path: Path) -> int:
    """How many of ours lead to *path*."""
    return sum(os.path.realpath(f"/proc/self/fd/{number}") == str(path) for number in os.listdir("/proc/self/fd"))


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("data", [WHOLE, DAMAGED], ids=["whole", "damaged"])
@pytest.mark.parametrize("count", [0, 1, 1_000], ids=["unread", "begun", "as far as it goes"])
def test_the_chunks_of_a_blob_are_closed_with_it(tmp_path: Path, data: bytes, count: int) -> None:
    path = tmp_path / "blob"
    path.write_bytes(data)
    source = chunks(path)
    try:
        with Blob(source) as blob:
            for _piece in itertools.islice(blob, count):
                pass
    except Malformed:
        assert data == DAMAGED
    assert descriptors(path) == 0


@pytest.mark.usefixtures("uncollected")
def test_a_blob_that_cannot_be_compressed_again_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(DAMAGED)
    with pytest.raises(Malformed):
        pack.recompress(chunks(path), lambda _data: None, compression="zstd")
    assert descriptors(path) == 0


def test_a_descriptor_stays_the_callers(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(WHOLE)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with Blob(descriptor) as blob:
        assert sum(map(len, blob)) == 1_000_000
    assert descriptors(path) == 1
    os.close(descriptor)
