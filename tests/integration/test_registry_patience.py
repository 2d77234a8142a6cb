"""How long a registry is waited for: with a patience that is short enough for a test, and so not by the command."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.errors import MinirunError
from minirun.registry.address import of_server
from minirun.registry.client import Client
from minirun.registry.download import Download
from minirun.registry.patience import Cancelled, Patience
from minirun.registry.repository import Repository
from minirun.registry.trust import Trust
from tests import middleman as between
from tests import registries
from tests.middleman import Middleman
from tests.registries import Registry

SHORT = Patience(connect_s=0.3, stall_s=0.5, document_s=1.5, attempts=3, first_s=0.02)
BYTES = 2 << 20


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, bytes]]:
    """A registry with a blob of two megabytes."""
    data = os.urandom(BYTES)
    with registries.registry(tmp_path_factory.mktemp("registry") / "own") as where:
        described = registries.put_blob(where, "app", data)
        document = {
            "schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **described},
            "layers": [],
        }  # fmt: skip
        registries.put_manifest(where, "app", "1", document, "application/vnd.oci.image.manifest.v1+json")
        yield where, data


@pytest.fixture
def middle(registry: tuple[Registry, bytes]) -> Iterator[Middleman]:
    """Somebody before it."""
    with between.middleman(registry[0].port) as somebody:
        yield somebody


def repository(place: str, tmp_path: Path) -> Repository:
    """The repository of it, spoken to without much patience."""
    return Repository(Client(of_server(place), "test", Trust(folder=str(tmp_path)), None, SHORT), "app")


def digest(data: bytes) -> str:
    """The digest of something."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_stall_in_a_layer_is_waited_for_and_then_it_goes_on(
    registry: tuple[Registry, bytes], middle: Middleman, tmp_path: Path
) -> None:
    data = registry[1]
    middle.trick("/blobs/", between.stall(BYTES // 2), times=1)
    from_it = repository(middle.place, tmp_path)
    assert b"".join(Download(from_it, digest(data), len(data))) == data
    assert [one.headers.get("Range") for one in middle.asked if "/blobs/" in one.path] == [None, f"bytes={BYTES // 2}-"]
    from_it.client.close()


def test_a_layer_that_stalls_for_ever_is_given_up(
    registry: tuple[Registry, bytes], middle: Middleman, tmp_path: Path
) -> None:
    middle.trick("/blobs/", between.stall(0))
    from_it = repository(middle.place, tmp_path)
    with pytest.raises(MinirunError, match=r"stalls: nothing came for 0\.5 s"):
        b"".join(Download(from_it, digest(registry[1]), BYTES))
    assert len(middle.paths("/blobs/")) == SHORT.attempts
    from_it.client.close()


def test_a_layer_that_comes_by_the_byte_is_read_and_a_manifest_is_not(
    registry: tuple[Registry, bytes], middle: Middleman, tmp_path: Path
) -> None:
    def trickle(visit: between.Visit, _asked: between.Asked, reply: between.Reply) -> None:
        visit.send(reply.status, reply.headers, b"", len(reply.body))
        for byte in reply.body:
            if visit.owner.over.wait(0.1):
                return
            visit.wfile.write(bytes([byte]))

    middle.trick("/manifests/", trickle)
    from_it = repository(middle.place, tmp_path)
    with pytest.raises(MinirunError, match=r"not whole after 1\.5 s"):
        from_it.manifest("1")
    from_it.client.close()


def test_whoever_waits_for_bytes_can_be_made_to_stop(
    registry: tuple[Registry, bytes], middle: Middleman, tmp_path: Path
) -> None:
    middle.trick("/blobs/", between.stall(BYTES // 2))
    patient = Patience(stall_s=60, attempts=100)
    from_it = Repository(Client(of_server(middle.place), "test", Trust(folder=str(tmp_path)), None, patient), "app")
    download = Download(from_it, digest(registry[1]), BYTES)
    ends: list[BaseException] = []

    def read() -> None:
        try:
            b"".join(download)
        except Cancelled as error:
            ends.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    end = time.monotonic() + 10
    while not middle.paths("/blobs/") and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.2)
    begun = time.monotonic()
    download.close()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - begun < 5
    assert len(ends) == 1
    from_it.client.close()


def test_a_host_that_takes_no_connection_is_given_up(tmp_path: Path) -> None:
    # a queue of connections that is full: what comes next is neither taken nor refused
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(server.getsockname())
            begun = time.monotonic()
            with pytest.raises(MinirunError, match=r"ETIMEDOUT, no connection within 0\.3 s"):
                repository(f"127.0.0.1:{server.getsockname()[1]}", tmp_path).manifest("1")
            assert time.monotonic() - begun < 5
        finally:
            for one in waiting:
                one.close()


def test_a_host_that_takes_connections_and_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        with pytest.raises(MinirunError, match=r"ETIMEDOUT|stalls|broke"):
            repository(f"localhost:{server.getsockname()[1]}", tmp_path).manifest("1")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 1_000_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\nhello",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
)
def test_what_is_no_http_is_refused_with_a_sentence(tmp_path: Path, answer: bytes) -> None:
    over = threading.Event()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        server.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                try:
                    visitor, _ = server.accept()
                except TimeoutError:
                    continue
                with visitor:
                    visitor.settimeout(1)
                    try:
                        visitor.recv(65536)
                        visitor.sendall(answer)
                        visitor.shutdown(socket.SHUT_WR)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            from_it = repository(f"localhost:{server.getsockname()[1]}", tmp_path)
            with pytest.raises(MinirunError) as refused:
                from_it.manifest("1")
            from_it.client.close()
        finally:
            over.set()
            thread.join()
    assert len(str(refused.value)) < 1000


def test_pauses_grow_and_differ() -> None:
    patience = Patience()
    for failures, longest in ((1, 0.5), (2, 1), (3, 2), (4, 4), (100, 20)):
        pauses = [patience.pause_s(failures) for _ in range(50)]
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 1


def test_the_manifest_is_the_one_that_was_put(registry: tuple[Registry, bytes], tmp_path: Path) -> None:
    where, data = registry
    from_it = repository(where.place, tmp_path)
    document = from_it.manifest("1")
    assert json.loads(document.data)["config"]["digest"] == digest(data)
    assert from_it.document(digest(data), BYTES) == data
    with pytest.raises(MinirunError, match="has more than 100 bytes"):
        from_it.document(digest(data), 100)
    assert from_it.tags() == ["1"]
    from_it.client.close()
