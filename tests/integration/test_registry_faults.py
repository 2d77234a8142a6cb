"""A registry, or somebody in between, cuts, stalls, alters and lies; the store is as it was, or the image is right."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import middleman as between
from tests import registries
from tests.command import Minirun
from tests.middleman import Asked, Middleman, Reply, Visit
from tests.registries import Registry

NOISE_BYTES = 3 << 20


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that has noise:1, an image of one layer of some megabytes that no compressor makes smaller."""
    place = tmp_path_factory.mktemp("registry")
    rootfs = place / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "noise").write_bytes(os.urandom(NOISE_BYTES))
    maker = Minirun(place / "maker", place / "maker-run")
    with registries.registry(place / "own") as where:
        maker("import", rootfs, f"{where.place}/noise:1", check=True)
        maker("push", f"{where.place}/noise:1", check=True)
        yield where


@pytest.fixture
def middle(registry: Registry) -> Iterator[Middleman]:
    """Somebody before that registry."""
    with between.middleman(registry.port) as somebody:
        yield somebody


@pytest.fixture
def layer(registry: Registry) -> str:
    """The digest of the layer of noise:1."""
    digest: str = json.loads(registries.manifest(registry, "noise:1"))["layers"][0]["digest"]
    return digest


def is_right(minirun: Minirun, registry: Registry) -> None:
    """Check that what was pulled is noise:1, by its bytes."""
    [blob] = [path for path in (minirun.root / "blobs").iterdir() if path.stat().st_size > NOISE_BYTES // 2]
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    [noise] = minirun.root.glob("diffs/*/noise")
    assert noise.stat().st_size == NOISE_BYTES
    assert f"sha256:{blob.name}" in registries.manifest(registry, "noise:1").decode()


def is_empty(minirun: Minirun) -> None:
    """Check that nothing was stored, and nothing half-made is left."""
    for folder in ("blobs", "diffs", "layers", "images", "tags", "tmp", "marks"):
        assert os.listdir(minirun.root / folder) == [], folder


def refused(minirun: Minirun, middle: Middleman, *said: str, name: str = "noise:1") -> str:
    """Pull in vain, with *said* among what is said; returns that."""
    result = minirun("pull", f"{middle.place}/{name}")
    assert result.returncode == 125
    for text in said:
        assert text in result.stderr
    is_empty(minirun)
    return result.stderr


@pytest.mark.parametrize("rudely", [True, False])
def test_a_download_that_is_cut_goes_on_where_it_was(
    minirun: Minirun, registry: Registry, middle: Middleman, layer: str, rudely: bool
) -> None:
    middle.trick(layer, between.cut(1 << 20, rudely=rudely), times=2)
    minirun("pull", f"{middle.place}/noise:1", check=True)
    is_right(minirun, registry)
    ranges = [one.headers.get("Range", "bytes=0-") for one in middle.asked if layer in one.path]
    begun = [int(text.removeprefix("bytes=").removesuffix("-")) for text in ranges]
    if rudely:
        # what was received and not read yet is lost with the connection
        assert begun == sorted(begun)
        assert begun[-1] > 0
    else:
        assert begun == [0, 1 << 20, 2 << 20]


def test_a_registry_without_ranges_is_read_from_the_beginning_again(
    minirun: Minirun, registry: Registry, middle: Middleman, layer: str
) -> None:
    def whole(visit: Visit, asked: Asked, _reply: Reply) -> None:
        asked.headers.pop("Range", None)
        asked.headers.pop("If-Range", None)
        reply = visit.forward(asked)
        visit.send(reply.status, reply.headers, reply.body)

    middle.trick(layer, between.cut(1 << 20, rudely=False), times=1)
    middle.trick(layer, whole)
    minirun("pull", f"{middle.place}/noise:1", check=True)
    is_right(minirun, registry)


def test_another_part_than_was_asked_for_is_not_taken(
    minirun: Minirun, registry: Registry, middle: Middleman, layer: str
) -> None:
    middle.trick(layer, between.cut(1 << 20, rudely=False), times=1)
    middle.trick(layer, between.header("Content-Range", f"bytes {2 << 20}-{3 << 20}/*"), times=1)
    minirun("pull", f"{middle.place}/noise:1", check=True)
    is_right(minirun, registry)


def test_a_download_that_never_gets_further_is_given_up(minirun: Minirun, middle: Middleman, layer: str) -> None:
    middle.trick(layer, between.cut(0))
    refused(minirun, middle, "the connection to", "broke")
    assert len(middle.paths(layer)) == 5


def test_five_hundreds_are_asked_again_and_then_it_is_well(
    minirun: Minirun, registry: Registry, middle: Middleman, layer: str
) -> None:
    middle.trick("/manifests/", between.refuse(500), times=2)
    middle.trick(layer, between.refuse(503), times=3)
    minirun("pull", f"{middle.place}/noise:1", check=True)
    is_right(minirun, registry)
    assert len(middle.paths(layer)) == 4


def test_a_registry_that_is_always_busy_is_given_up(minirun: Minirun, middle: Middleman) -> None:
    middle.trick("/manifests/", between.refuse(502))
    refused(minirun, middle, "says 502 Bad Gateway", "try again later")
    assert len(middle.paths("/manifests/")) == 5


def test_too_many_requests_are_heeded_as_long_as_it_says(
    minirun: Minirun, registry: Registry, middle: Middleman
) -> None:
    middle.trick("/manifests/", between.refuse(429, ("Retry-After", "2")), times=1)
    begun = time.monotonic()
    minirun("pull", f"{middle.place}/noise:1", check=True)
    assert time.monotonic() - begun >= 2
    is_right(minirun, registry)


def test_who_is_told_to_come_back_in_an_hour_is_told_so(minirun: Minirun, middle: Middleman) -> None:
    middle.trick("/manifests/", between.refuse(429, ("Retry-After", "3600")))
    refused(minirun, middle, "says 429 Too Many Requests, and to come back in 3600 s")
    assert len(middle.paths("/manifests/")) == 1


def test_other_bytes_are_not_taken(minirun: Minirun, middle: Middleman, layer: str) -> None:
    middle.trick(layer, between.alter)
    said = refused(minirun, middle, "noise:1")
    assert "sha256" in said or "damaged" in said


def test_another_manifest_than_its_digest_names_is_not_taken(minirun: Minirun, middle: Middleman) -> None:
    digest = "sha256:" + "a" * 64
    middle.trick("/manifests/", between.header("Docker-Content-Digest", digest))
    refused(minirun, middle, f"is not what its digest {digest} names")


def test_another_manifest_than_was_asked_for_by_digest_is_not_taken(
    minirun: Minirun, registry: Registry, middle: Middleman
) -> None:
    raw = registries.manifest(registry, "noise:1")
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"

    def other(visit: Visit, _asked: Asked, reply: Reply) -> None:
        headers = [pair for pair in reply.headers if pair[0] != "Docker-Content-Digest"]
        visit.send(reply.status, headers, reply.body + b" ")

    middle.trick("/manifests/", other)
    refused(minirun, middle, f"is not what its digest {digest} names", name=f"noise@{digest}")


def test_another_config_than_its_digest_names_is_not_taken(
    minirun: Minirun, registry: Registry, middle: Middleman
) -> None:
    config = json.loads(registries.manifest(registry, "noise:1"))["config"]["digest"]
    middle.trick(config, between.alter)
    refused(minirun, middle, "its contents are not those its digest names")


@pytest.mark.parametrize("act", [between.lengthen(1), between.lengthen(1 << 20)])
def test_more_than_the_manifest_says_is_not_taken(
    minirun: Minirun, middle: Middleman, layer: str, act: between.Act
) -> None:
    middle.trick(layer, act)
    refused(minirun, middle, "bytes of it, and the manifest says")


def test_a_layer_without_an_end_ends_with_what_the_manifest_says(
    minirun: Minirun, middle: Middleman, layer: str
) -> None:
    middle.trick(layer, between.endless)
    refused(minirun, middle, "is longer than the", "bytes that its manifest says")


def test_a_manifest_without_an_end_is_not_read_to_its_end(minirun: Minirun, middle: Middleman) -> None:
    middle.trick("/manifests/", between.endless)
    refused(minirun, middle, f"has more than {4 << 20} bytes")


def test_an_error_without_an_end_is_shown_in_a_line_without_control_characters(
    minirun: Minirun, middle: Middleman
) -> None:
    evil = "\x1b]0;title\x07 come\r\nhere " + "long " * 1000
    body = json.dumps({"errors": [{"code": "DENIED", "message": evil}]}).encode()
    middle.trick("/manifests/", between.refuse(400, body=body))
    said = refused(minirun, middle, "says 400 Bad Request for noise:1: ]0;title come here long")
    [line] = [line for line in said.splitlines() if "400" in line]
    assert line.isprintable()
    assert len(line) < 500


def test_redirects_in_circles_are_left(minirun: Minirun, middle: Middleman, layer: str) -> None:
    middle.trick(layer, between.refuse(307, ("Location", f"/v2/noise/blobs/{layer}?again")))
    refused(minirun, middle, "sends us on more than 10 times")
    assert len(middle.paths(layer)) == 11


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://192.0.2.1/blob?secret=1", "sends us to http://192.0.2.1/blob, which is not https"),
        ("file:///etc/passwd", "sends us to what is no URL of http or https"),
        ("http://[", "sends us to what is no URL of http or https"),
    ],
)
def test_redirects_into_the_clear_or_to_files_are_not_followed(
    minirun: Minirun, middle: Middleman, layer: str, location: str, said: str
) -> None:
    middle.trick(layer, between.refuse(302, ("Location", location)))
    refused(minirun, middle, said)


def test_who_we_are_stays_behind_when_we_are_sent_on(
    minirun: Minirun, registry: Registry, middle: Middleman, layer: str, tmp_path: Path
) -> None:
    # CVE-2020-15157: the other one asks for it, too, and names a realm of his own
    account = {"username": "ada", "password": "s3cr3t"}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {middle.place: account}}))
    challenge = ("WWW-Authenticate", 'Basic realm="x"')
    with between.middleman(registry.port) as other:

        def guarded(visit: Visit, asked: Asked, reply: Reply) -> None:
            if "Authorization" not in asked.headers:
                visit.send(401, [challenge])
            elif layer in asked.path:
                visit.send(307, [("Location", f"http://127.0.0.1:{other.port}{asked.path}")])
            else:
                visit.send(reply.status, reply.headers, reply.body)

        middle.trick("/v2/", guarded)
        environment = {"DOCKER_CONFIG": str(tmp_path)}
        minirun("pull", f"{middle.place}/noise:1", env=environment, check=True)
        is_right(minirun, registry)
        assert other.paths(layer)
        assert all("Authorization" not in one.headers for one in other.asked)
        minirun("rmi", f"{middle.place}/noise:1", check=True)
        asked = len(middle.asked)
        bearer = f'Bearer realm="http://127.0.0.1:{other.port}/token",service="x"'
        other.trick(layer, between.refuse(401, ("WWW-Authenticate", bearer), ("WWW-Authenticate", challenge[1])))
        result = minirun("pull", f"{middle.place}/noise:1", env=environment)
        assert result.returncode == 125
        assert "where the registry sends us, says 401" in result.stderr
        assert "s3cr3t" not in result.stderr
        assert not other.paths("/token")
        assert all("Authorization" not in one.headers for one in other.asked)
        assert any("Authorization" in one.headers for one in middle.asked[asked:])


def test_a_manifest_that_could_be_two_things_is_none(minirun: Minirun, registry: Registry, middle: Middleman) -> None:
    # CVE-2021-41190
    raw = json.loads(registries.manifest(registry, "noise:1"))
    both = json.dumps({**raw, "manifests": []}).encode()

    def twofold(visit: Visit, _asked: Asked, reply: Reply) -> None:
        visit.send(200, [("Content-Type", dict(reply.headers)["Content-Type"])], both)

    middle.trick("/manifests/", twofold)
    refused(minirun, middle, "is said to be one thing and looks like another")


def test_schema_1_is_refused_with_a_sentence(minirun: Minirun, middle: Middleman) -> None:
    old = json.dumps({"schemaVersion": 1, "name": "noise", "tag": "1", "fsLayers": [], "history": []}).encode()
    kind = ("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
    middle.trick("/manifests/", between.refuse(200, kind, body=old))
    refused(minirun, middle, "is of schema 1, which nobody writes any more")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"schemaVersion": 2}', b"[" * 100_000, b"\xff\xfe", b'{"layers": 1}']
)
def test_what_is_no_manifest_is_refused(minirun: Minirun, middle: Middleman, body: bytes) -> None:
    kind = ("Content-Type", "application/vnd.oci.image.manifest.v1+json")
    middle.trick("/manifests/", between.refuse(200, kind, body=body))
    refused(minirun, middle, "cannot ")


def test_tags_of_hostile_names_and_pages_in_circles_end(minirun: Minirun, middle: Middleman) -> None:
    middle.trick("/tags/list", between.refuse(200, body=json.dumps({"tags": ["good", "../../evil"]}).encode()), times=1)
    result = minirun("pull", "-a", f"{middle.place}/noise")
    assert result.returncode == 125
    assert "have one that is none" in result.stderr
    page = between.refuse(200, ("Link", '</v2/noise/tags/list?last=1>; rel="next"'), body=b'{"tags": ["1"]}')
    middle.trick("/tags/list", page)
    minirun("pull", "-a", f"{middle.place}/noise", check=True)
    assert len(middle.paths("/tags/list")) == 3


def other_tag(visit: Visit, asked: Asked, _reply: Reply) -> None:
    """Answer for any tag with the manifest of noise:1."""
    asked.path = "/v2/noise/manifests/1"
    reply = visit.forward(asked)
    visit.send(reply.status, reply.headers, reply.body)


def test_every_page_of_tags_is_read(minirun: Minirun, middle: Middleman) -> None:
    middle.trick("last=0", between.refuse(200, body=b'{"tags": ["1"]}'))
    link = ("Link", '</v2/noise/tags/list?last=0&n=1>; rel="next"')
    middle.trick("/tags/list", between.refuse(200, link, body=b'{"tags": ["copy"]}'))
    middle.trick("/manifests/copy", other_tag)
    told = minirun("pull", "-a", f"{middle.place}/noise", check=True).stdout
    assert [line.partition(":")[0] for line in told.splitlines() if "Pulling from" in line] == ["copy", "1"]


def test_an_upload_that_is_cut_is_done_again(
    minirun: Minirun, registry: Registry, middle: Middleman, tmp_path: Path
) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "noise").write_bytes(os.urandom(1 << 20))
    minirun("import", rootfs, f"{middle.place}/up:1", check=True)
    middle.trick("/blobs/uploads/", between.cut_request(100_000), times=2, method="PUT")
    middle.trick("/blobs/uploads/", between.refuse(500), times=1, method="POST")
    middle.trick("/manifests/", between.refuse(503), times=1, method="PUT")
    minirun("push", f"{middle.place}/up:1", check=True)
    fresh = Minirun(tmp_path / "fresh", tmp_path / "fresh-run")
    fresh("pull", f"{registry.place}/up:1", check=True)
    [noise] = fresh.root.glob("diffs/*/noise")
    assert noise.read_bytes() == (rootfs / "noise").read_bytes()


@between.early
def half(visit: Visit, asked: Asked, _reply: Reply) -> None:
    """Let the first half of a piece through, and hang up."""
    whole = visit.rfile.read(int(asked.headers["Content-Length"]))
    length = len(whole) // 2
    begin = int(asked.headers["Content-Range"].partition("-")[0])
    headers = {**asked.headers, "Content-Length": str(length), "Content-Range": f"{begin}-{begin + length - 1}"}
    reply = visit.forward(Asked(asked.method, asked.path, headers, whole[:length]))
    assert reply.status == 202
    # Debian's registry tells nobody who was cut off where to go on; others do, as the specification has it
    told = [pair for pair in reply.headers if pair[0] in ("Location", "Range")]
    visit.owner.trick("/blobs/uploads/", between.refuse(204, *told), times=1)
    visit.hang_up(rudely=True)


def want_pieces(visit: Visit, _asked: Asked, reply: Reply) -> None:
    """Say that an upload must be in pieces, of a kilobyte and more."""
    visit.send(reply.status, [*reply.headers, ("OCI-Chunk-Min-Length", "1000")], reply.body)


def test_an_upload_in_pieces_goes_on_where_it_was_cut(
    minirun: Minirun, registry: Registry, middle: Middleman, tmp_path: Path
) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "noise").write_bytes(os.urandom(20 << 20))
    minirun("import", rootfs, f"{middle.place}/pieces:1", check=True)
    middle.trick("/blobs/uploads/", want_pieces, method="POST")
    middle.trick("/blobs/uploads/", between.cut_request(1000), times=1, method="PATCH")
    middle.trick("/blobs/uploads/", half, times=1, method="PATCH", after=1)
    minirun("push", f"{middle.place}/pieces:1", check=True)
    begun = [int(one.headers["Content-Range"].partition("-")[0]) >> 20 for one in middle.asked if one.method == "PATCH"]
    assert begun == [0, 0, 8, 12, 20]
    fresh = Minirun(tmp_path / "fresh", tmp_path / "fresh-run")
    fresh("pull", f"{registry.place}/pieces:1", check=True)
    [noise] = fresh.root.glob("diffs/*/noise")
    assert noise.read_bytes() == (rootfs / "noise").read_bytes()


def test_an_upload_that_is_too_large_for_somebody_goes_in_pieces(
    minirun: Minirun, registry: Registry, middle: Middleman, tmp_path: Path
) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "noise").write_bytes(os.urandom(10 << 20))
    minirun("import", rootfs, f"{middle.place}/proxied:1", check=True)

    def narrow(visit: Visit, asked: Asked, reply: Reply) -> None:
        status = 413 if len(asked.body) > 8 << 20 else reply.status
        visit.send(status, reply.headers, reply.body)

    middle.trick("/blobs/uploads/", narrow, method="PUT")
    middle.trick("/blobs/uploads/", narrow, method="PATCH")
    minirun("push", f"{middle.place}/proxied:1", check=True)
    assert len(middle.paths("/blobs/uploads/", "PATCH")) == 2
    assert registries.manifest(registry, "proxied:1")


@pytest.mark.parametrize("small", [True, False])
def test_ctrl_c_ends_who_waits_for_a_registry_that_stalls(
    minirun: Minirun, registry: Registry, middle: Middleman, tmp_path: Path, small: bool
) -> None:
    # a small image is unpacked by the command itself, in which somebody else reads; a large one by others
    name = "noise:1"
    if small:
        maker = Minirun(tmp_path / "maker", tmp_path / "maker-run")
        (tmp_path / "rootfs/bin").mkdir(parents=True)
        maker("import", tmp_path / "rootfs", f"{registry.place}/small:1", check=True)
        maker("push", f"{registry.place}/small:1", check=True)
        name = "small:1"
    layers = json.loads(registries.manifest(registry, name))["layers"]
    middle.trick(layers[0]["digest"], between.stall(10))
    with minirun.start("pull", f"{middle.place}/{name}") as process:
        end = time.monotonic() + 30
        while time.monotonic() < end and not middle.paths(layers[0]["digest"]):
            time.sleep(0.01)
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - begun < 5
    is_empty(minirun)


def test_a_layer_is_told_to_be_complete_while_another_is_waited_for(
    minirun: Minirun, registry: Registry, middle: Middleman, tmp_path: Path
) -> None:
    for name, size in (("01-late", 2 << 20), ("02-soon", 1 << 10)):
        (tmp_path / "layers" / name / "bin").mkdir(parents=True)
        (tmp_path / "layers" / name / name).write_bytes(os.urandom(size))
    maker = Minirun(tmp_path / "maker", tmp_path / "maker-run")
    maker("import", tmp_path / "layers", f"{registry.place}/two:1", check=True)
    maker("push", f"{registry.place}/two:1", check=True)
    late, soon = (one["digest"] for one in json.loads(registries.manifest(registry, "two:1"))["layers"])
    go = threading.Event()

    def hold(visit: Visit, _asked: Asked, reply: Reply) -> None:
        go.wait(60)
        visit.send(reply.status, reply.headers, reply.body)

    middle.trick(late, hold)
    with minirun.start("pull", f"{middle.place}/two:1") as process:
        assert process.stdout
        lines = iter(process.stdout.readline, b"")
        before = list(itertools.takewhile(lambda line: line != f"{soon[7:19]}: Pull complete\n".encode(), lines))
        assert f"{soon[7:19]}: Download complete\n".encode() in before
        assert f"{late[7:19]}: Download complete\n".encode() not in before
        assert os.listdir(minirun.root / "layers") == os.listdir(minirun.root / "images") == []
        go.set()
        after = list(lines)
    assert process.returncode == 0
    assert after[:2] == [f"{late[7:19]}: {state}\n".encode() for state in ("Download complete", "Pull complete")]


def test_what_a_registry_does_not_take_is_told(minirun: Minirun, middle: Middleman, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    minirun("import", rootfs, f"{middle.place}/no:1", check=True)
    denied = json.dumps({"errors": [{"code": "DENIED", "message": "not you"}]}).encode()
    middle.trick("/blobs/uploads/", between.refuse(403, body=denied), method="POST")
    result = minirun("push", f"{middle.place}/no:1")
    assert result.returncode == 125
    assert "says 403 Forbidden for an upload to no: not you" in result.stderr
    assert f"`minirun login {middle.place}`" in result.stderr
    assert os.listdir(minirun.root / "tmp") == []
    assert os.listdir(minirun.root / "marks") == []
