"""Images go to a registry and come back, and skopeo and podman see the same as minirun."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import registries, screen, trees
from tests.command import Minirun
from tests.registries import Registry

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, busybox_oci: Path) -> Iterator[Registry]:
    """A registry in the clear, in which are busybox:1 and busybox:2."""
    with registries.registry(tmp_path_factory.mktemp("registry") / "own") as where:
        registries.fill(where, busybox_oci, ["busybox:1", "busybox:2"])
        yield where


def digest_of(data: bytes) -> str:
    """The digest of something."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def picture(minirun: Minirun) -> dict[str, object]:
    """What is in the layers of a store, by their names."""
    folder = minirun.root / "diffs"
    return {name: trees.describe(folder / name) for name in os.listdir(folder) if not name.endswith("-mounts")}


def image(where: Registry, name: str, architecture: str, text: str, kind: str = OCI) -> dict[str, object]:
    """Make an image of one file in a registry; returns the descriptor of its manifest."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("word")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    layer = registries.put_blob(where, name, gzip.compress(tar.getvalue(), mtime=0))
    config = {
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["/word"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar.getvalue())]},
    }  # fmt: skip
    described = registries.put_blob(where, name, json.dumps(config).encode())
    words = ("config.v1+json", "layer.v1.tar+gzip", "manifest.v1+json")
    if kind == DOCKER:
        words = ("container.image.v1+json", "image.rootfs.diff.tar.gzip", "distribution.manifest.v2+json")
    document = {
        "schemaVersion": 2, "mediaType": kind + words[2], "config": {"mediaType": kind + words[0], **described},
        "layers": [{"mediaType": kind + words[1], **layer}],
    }  # fmt: skip
    made = registries.put_manifest(where, name, architecture, document, kind + words[2])
    return {**made, "platform": {"os": "linux", "architecture": architecture}}


def test_what_skopeo_pushed_is_pulled_with_the_same_digest_and_the_same_tree(
    minirun: Minirun, registry: Registry, busybox_oci: Path, tmp_path: Path
) -> None:
    name = f"{registry.place}/busybox:1"
    lines = minirun("pull", name, check=True).stdout.splitlines()
    raw = registries.manifest(registry, "busybox:1")
    ids = [layer["digest"][7:19] for layer in json.loads(raw)["layers"]]
    assert lines[0] == "1: Pulling from busybox"
    assert lines[1 : 1 + len(ids)] == [f"{one}: Pulling fs layer" for one in ids]
    for one in ids:
        assert lines.index(f"{one}: Download complete") < lines.index(f"{one}: Pull complete")
        assert lines.count(f"{one}: Pull complete") == 1
    assert len(lines) == 1 + 3 * len(ids) + 3
    assert lines[-3:] == [
        f"Digest: {digest_of(raw)}",
        f"Status: Downloaded newer image for {name}",
        name,
    ]
    assert digest_of(raw) in minirun("images", "--digests", check=True).stdout
    other = Minirun(tmp_path / "other", tmp_path / "other-run")
    other("import", busybox_oci, check=True)
    assert picture(minirun) == picture(other)
    assert minirun("run", "--rm", name, "echo", "hello", check=True).stdout == "hello\n"


def test_what_is_here_is_not_fetched_again(minirun: Minirun, registry: Registry) -> None:
    name = f"{registry.place}/busybox"
    minirun("pull", f"{name}:1", check=True)
    before = len(registry.requests())
    again = minirun("pull", f"{name}:1", check=True).stdout.splitlines()
    assert [line.partition(": ")[2] for line in again[1:-3]] == ["Already exists"] * (len(again) - 4)
    assert again[-2:] == [f"Status: Image is up to date for {name}:1", f"{name}:1"]
    other = minirun("pull", f"{name}:2", check=True).stdout.splitlines()
    assert other[-2] == f"Status: Downloaded newer image for {name}:2"
    assert [line for line in registry.requests()[before:] if "/blobs/" in line] == []


def test_records_of_others_that_cannot_be_read_are_in_nobodys_way(
    minirun: Minirun, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "other/bin").mkdir(parents=True)
    minirun("import", tmp_path / "other", "other", check=True)
    image = (minirun.root / "tags/other:latest").resolve()
    [layer] = json.loads(image.read_text())["layers"]
    for record in (image, minirun.root / f"layers/{layer}.json"):
        record.write_text("{")
    name = f"{registry.place}/busybox:1"
    minirun("pull", name, check=True)
    minirun("tag", name, f"{registry.place}/beside", check=True)
    minirun("push", f"{registry.place}/beside", check=True)
    assert minirun("run", "--rm", name, "echo", "hello", check=True).stdout == "hello\n"


def test_a_layer_whose_record_cannot_be_read_is_pulled_again(minirun: Minirun, registry: Registry) -> None:
    name = f"{registry.place}/busybox:1"
    minirun("pull", name, check=True)
    record = next((minirun.root / "layers").glob("*.json"))
    whole = record.read_text()
    record.write_text("{")
    lines = minirun("pull", name, check=True).stdout.splitlines()
    assert sum(line.endswith(": Pull complete") for line in lines) == 1
    assert json.loads(record.read_text())["diff_id"] == json.loads(whole)["diff_id"]
    assert minirun("system", "check").stdout.endswith("sound\n")


def test_quiet_prints_the_name_alone(minirun: Minirun, registry: Registry) -> None:
    name = f"{registry.place}/busybox:1"
    assert minirun("pull", "-q", name, check=True).stdout == f"{name}\n"
    minirun("tag", name, f"{registry.place}/quiet", check=True)
    assert minirun("push", "-q", f"{registry.place}/quiet", check=True).stdout == f"{registry.place}/quiet:latest\n"


def test_an_image_is_pulled_by_its_digest_and_found_by_it(minirun: Minirun, registry: Registry) -> None:
    digest = digest_of(registries.manifest(registry, "busybox:1"))
    name = f"{registry.place}/busybox@{digest}"
    told = minirun("image", "pull", name, check=True).stdout.splitlines()
    assert told[0] == f"{digest}: Pulling from busybox"
    assert told[-1] == name
    assert minirun("run", "--rm", name, "echo", "found", check=True).stdout == "found\n"
    assert "<none>" in minirun("images", check=True).stdout


def test_all_tags_of_a_repository_are_pulled_and_pushed(
    minirun: Minirun, registry: Registry, busybox_oci: Path
) -> None:
    tags = [f"t{number:03}" for number in range(12)]
    registries.fill(registry, busybox_oci, ["many:t000"])
    raw = registries.manifest(registry, "many:t000")
    for tag in tags[1:]:
        registries.put_manifest(registry, "many", tag, raw, f"{OCI}manifest.v1+json")
    name = f"{registry.place}/many"
    told = minirun("pull", "-a", name, check=True).stdout.splitlines()
    # in what order, the registry says
    assert sorted(line for line in told if "Pulling from" in line) == [f"{tag}: Pulling from many" for tag in tags]
    assert told[-2:] == [f"Status: Downloaded newer image for {name}", name]
    for tag in ("one", "two"):
        minirun("tag", f"{name}:t001", f"{registry.place}/pair:{tag}", check=True)
    pushed = minirun("push", "-a", f"{registry.place}/pair", check=True).stdout.splitlines()
    assert [line.split()[0] for line in pushed if "digest:" in line] == ["one:", "two:"]
    assert registries.manifest(registry, "pair:two") == raw
    refused = minirun("pull", "-a", f"{name}:t001")
    assert refused.returncode == 125
    assert "-a brings all tags" in refused.stderr


def test_layers_in_zstd_are_pulled_and_pushed_as_they_are(
    minirun: Minirun, registry: Registry, busybox_oci: Path, tmp_path: Path
) -> None:
    registries.skopeo(
        "copy", "-q", "--dest-tls-verify=false", "--dest-compress-format=zstd", f"oci:{busybox_oci}",
        f"docker://{registry.place}/zstd:1",
    )  # fmt: skip
    raw = registries.manifest(registry, "zstd:1")
    assert b"tar+zstd" in raw
    minirun("pull", f"{registry.place}/zstd:1", check=True)
    minirun("tag", f"{registry.place}/zstd:1", f"{registry.place}/zstd:2", check=True)
    minirun("push", f"{registry.place}/zstd:2", check=True)
    assert registries.manifest(registry, "zstd:2") == raw
    other = Minirun(tmp_path / "other", tmp_path / "other-run")
    other("import", busybox_oci, check=True)
    assert picture(minirun) == picture(other)


def test_of_several_platforms_one_is_picked(minirun: Minirun, registry: Registry) -> None:
    for kind, index, name in (
        (OCI, f"{OCI}index.v1+json", "platforms"),
        (DOCKER, f"{DOCKER}distribution.manifest.list.v2+json", "dockers"),
    ):
        made = [image(registry, name, word, f"for {word}", kind) for word in ("arm64", "amd64", "s390x")]
        document = {"schemaVersion": 2, "mediaType": index, "manifests": made}
        put = registries.put_manifest(registry, name, "all", document, index)
        whole = f"{registry.place}/{name}:all"
        assert f"Digest: {put['digest']}" in minirun("pull", whole, check=True).stdout
        by_digest = f"{registry.place}/{name}@{put['digest']}"
        assert minirun("inspect", "-f", "{{.Architecture}}", by_digest, check=True).stdout == "amd64\n"
        assert minirun("inspect", "-f", "{{.Architecture}}", whole, check=True).stdout == "amd64\n"
        minirun("pull", "--platform", "linux/arm64", whole, check=True)
        assert minirun("inspect", "-f", "{{.Architecture}}", whole, check=True).stdout == "arm64\n"
        refused = minirun("pull", "--platform", "linux/riscv64", whole)
        assert refused.returncode == 125
        assert "it is for linux/arm64, linux/amd64, linux/s390x, not for linux/riscv64" in refused.stderr
        single = f"{registry.place}/{name}:s390x"
        assert "not for linux/arm64" in minirun("pull", "--platform", "linux/arm64", single).stderr


def test_what_was_pulled_is_pushed_with_the_same_digest_and_without_its_bytes(
    minirun: Minirun, registry: Registry
) -> None:
    minirun("pull", f"{registry.place}/busybox:1", check=True)
    copy = f"{registry.place}/team/copy:3"
    minirun("tag", f"{registry.place}/busybox:1", copy, check=True)
    before = len(registry.requests())
    told = minirun("push", copy, check=True).stdout.splitlines()
    raw = registries.manifest(registry, "busybox:1")
    assert told[0] == f"The push refers to repository [{registry.place}/team/copy]"
    assert told[-1] == f"3: digest: {digest_of(raw)} size: {len(raw)}"
    layers = len(json.loads(raw)["layers"])
    assert len([line for line in told if line.endswith("Mounted from busybox")]) == layers
    assert registries.manifest(registry, "team/copy:3") == raw
    # only the config is sent: layers have been in the registry
    assert (
        len([line for line in registry.requests()[before:] if line.startswith(("PUT /v2/team/copy/blobs", "PATCH"))])
        <= 1
    )
    again = minirun("push", copy, check=True).stdout.splitlines()
    assert len([line for line in again if line.endswith("Layer already exists")]) == layers


def test_what_was_committed_is_pushed_and_read_by_skopeo_and_podman(
    minirun: Minirun, registry: Registry, tmp_path: Path, podmans: Path
) -> None:
    minirun("pull", f"{registry.place}/busybox:1", check=True)
    write = "echo happy >/happy; rm /etc/passwd"
    minirun("run", "--name", "box", f"{registry.place}/busybox:1", "sh", "-c", write, check=True)
    made = f"{registry.place}/made:1"
    minirun("commit", "-c", 'CMD ["cat", "/happy"]', "box", made, check=True)
    told = minirun("push", made, check=True).stdout.splitlines()
    raw = registries.manifest(registry, "made:1")
    assert told[-1] == f"1: digest: {digest_of(raw)} size: {len(raw)}"
    below = json.loads(registries.manifest(registry, "busybox:1"))["layers"]
    assert json.loads(raw)["layers"][: len(below)] == below
    registries.skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{made}", f"oci:{tmp_path}/read:1")
    other = Minirun(tmp_path / "other", tmp_path / "other-run")
    other("import", tmp_path / "read", "read", check=True)
    assert other("run", "--rm", "read", check=True).stdout == "happy\n"
    registries.podman(podmans, "pull", "-q", "--tls-verify=false", made)
    told_digest = registries.podman(podmans, "image", "inspect", "--format", "{{.Digest}} {{.Config.Cmd}}", made)
    assert told_digest == f"{digest_of(raw)} [cat /happy]\n"
    # pushed again it is the same, and so it is for who pulls it
    assert minirun("push", made, check=True).stdout.splitlines()[-1] == told[-1]
    fresh = Minirun(tmp_path / "fresh", tmp_path / "fresh-run")
    fresh("pull", made, check=True)
    assert fresh("run", "--rm", made, check=True).stdout == "happy\n"


def test_what_podman_pushed_is_pulled(
    minirun: Minirun, registry: Registry, busybox_docker_tar: Path, podmans: Path
) -> None:
    registries.podman(podmans, "load", "-q", "-i", busybox_docker_tar)
    found = registries.podman(podmans, "images", "-q", "busybox").split()[0]
    for form in ("oci", "v2s2"):
        name = f"{registry.place}/podman:{form}"
        registries.podman(podmans, "push", "-q", "--tls-verify=false", "--format", form, found, f"docker://{name}")
        told = minirun("pull", name, check=True).stdout
        assert f"Digest: {digest_of(registries.manifest(registry, f'podman:{form}'))}" in told
        assert minirun("run", "--rm", name, "echo", form, check=True).stdout == f"{form}\n"


def test_a_large_blob_goes_up_in_pieces_and_comes_back(minirun: Minirun, registry: Registry, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    with (rootfs / "noise").open("wb") as file:
        for _ in range(70):
            file.write(os.urandom(1 << 20))
    want = hashlib.sha256((rootfs / "noise").read_bytes()).hexdigest()
    minirun("import", rootfs, f"{registry.place}/large", check=True)
    before = len(registry.requests())
    minirun("push", f"{registry.place}/large", check=True)
    assert len([line for line in registry.requests()[before:] if line.startswith("PATCH /v2/large/")]) == 2
    fresh = Minirun(tmp_path / "fresh", tmp_path / "fresh-run")
    fresh("pull", f"{registry.place}/large", check=True)
    [found] = fresh.root.glob("diffs/*/noise")
    assert hashlib.sha256(found.read_bytes()).hexdigest() == want


def test_schema_1_and_what_is_no_image_are_refused_with_a_sentence(minirun: Minirun, registry: Registry) -> None:
    chart = registries.put_blob(registry, "chart", b"{}")
    document = {
        "schemaVersion": 2, "mediaType": f"{OCI}manifest.v1+json",
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", **chart},
        "layers": [{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", **chart}],
    }  # fmt: skip
    registries.put_manifest(registry, "chart", "1", document, f"{OCI}manifest.v1+json")
    refused = minirun("pull", f"{registry.place}/chart:1")
    assert refused.returncode == 125
    assert "helm.config.v1+json', which is no container's image" in refused.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nosuch", "404 Not Found for nosuch:latest: manifest unknown"),
        ("busybox:nosuch", "404 Not Found for busybox:nosuch: manifest unknown"),
        ("busybox@sha256:" + "0" * 64, "404 Not Found for busybox@sha256:000000000000"),
    ],
)
def test_what_is_not_there_is_told_with_what_to_look_at(
    minirun: Minirun, registry: Registry, name: str, said: str
) -> None:
    refused = minirun("pull", f"{registry.place}/{name}")
    assert refused.returncode == 125
    assert said in refused.stderr
    assert "look at the name and the tag" in refused.stderr
    assert not list((minirun.root / "tmp").iterdir())


def test_hosts_that_are_not_there_are_told_by_their_error(minirun: Minirun) -> None:
    begun = time.monotonic()
    refused = minirun("pull", f"localhost:{registries.free_port()}/app")
    assert "ECONNREFUSED" in refused.stderr
    assert refused.returncode == 125
    direct = {"HTTPS_PROXY": "", "https_proxy": ""}
    unknown = minirun("pull", "registry.invalid/app", env=direct)  # a name that never is: RFC 6761
    assert "the host registry.invalid is not known (EAI_" in unknown.stderr
    assert "getent hosts registry.invalid" in unknown.stderr
    assert time.monotonic() - begun < 20
    proxied = minirun("pull", "registry.invalid/app")
    assert "the proxy of the environment does not lead to registry.invalid: ECONNREFUSED" in proxied.stderr
    assert "no image has a name of that repository" in minirun("push", "-a", "localhost/none").stderr
    assert "no image of that name or id is stored" in minirun("push", "localhost/none").stderr


def test_names_that_are_paths_elsewhere_are_refused(minirun: Minirun, registry: Registry) -> None:
    for name in ("../x", "app:../../x", "app@sha256:../../x", "app/../../x"):
        refused = minirun("pull", f"{registry.place}/{name}")
        assert refused.returncode == 125, name
        assert "cannot take" in refused.stderr
    assert "@" in minirun("push", f"{registry.place}/app@sha256:{'0' * 64}").stderr


def test_run_and_create_pull_what_is_missing_and_always_what_they_are_told_to(
    minirun: Minirun, registry: Registry, busybox_oci: Path
) -> None:
    name = f"{registry.place}/wanted:1"
    registries.fill(registry, busybox_oci, ["wanted:1"])
    assert "no image of that name or id is stored" in minirun("run", "--rm", "--pull", "never", name, "true").stderr
    first = minirun("run", "--rm", name, "echo", "hello", check=True)
    assert first.stdout == "hello\n"
    said = first.stderr.splitlines()
    assert said[:2] == [f"Unable to find image '{name}' locally", "1: Pulling from wanted"]
    assert said[-1] == f"Status: Downloaded newer image for {name}"
    before = len(registry.requests())
    assert minirun("run", "--rm", name, "echo", "again", check=True).stderr == ""
    assert len(registry.requests()) == before
    always = minirun("create", "--pull=always", name, check=True)
    assert always.stderr.startswith("1: Pulling from wanted\n")
    assert f"Status: Image is up to date for {name}" in always.stderr
    assert len(always.stdout) == 65
    refused = minirun("run", "--rm", f"{registry.place}/wanted:nosuch")
    assert refused.returncode == 125
    assert f"cannot pull {registry.place}/wanted:nosuch: http://{registry.place} says 404" in refused.stderr
    for one in ("/nosuch", "./nosuch", "0123456789ab", "sha256:0123"):
        assert "pull " not in minirun("run", one).stderr.splitlines()[0]


def test_a_terminal_shows_a_line_for_each_layer(minirun: Minirun, registry: Registry) -> None:
    seen = screen.on_terminal(minirun, "pull", f"{registry.place}/busybox:1", columns=80, colours=True)
    raw = registries.manifest(registry, "busybox:1")
    for layer in json.loads(raw)["layers"]:
        assert f"{layer['digest'][7:19]}: Pull complete" in seen
    last = seen.rpartition("\x1b[J")[2]
    assert last.splitlines()[0] == f"Digest: {digest_of(raw)}"
    assert "\x1b[" not in minirun("pull", f"{registry.place}/busybox:1", check=True).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_pull_that_is_ended_leaves_nothing(
    minirun: Minirun, registry: Registry, tmp_path: Path, number: signal.Signals
) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "noise").write_bytes(os.urandom(40 << 20))
    maker = Minirun(tmp_path / "maker", tmp_path / "maker-run")
    maker("import", rootfs, f"{registry.place}/noise", check=True)
    maker("push", f"{registry.place}/noise", check=True)
    process = minirun.start("pull", f"{registry.place}/noise")
    with process:
        end = time.monotonic() + 30
        while time.monotonic() < end and not list((minirun.root / "tmp").glob("*/*")):
            time.sleep(0.005)
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else -9)
    if number == signal.SIGKILL:
        minirun("gc", check=True)
    assert not list((minirun.root / "tmp").iterdir())
    assert not list((minirun.root / "marks").iterdir())
    assert not list((minirun.root / "blobs").iterdir())
    assert minirun("images", "-q", check=True).stdout == ""


def test_a_name_without_a_registry_is_of_dockers(minirun: Minirun, busybox_oci: Path, tmp_path: Path) -> None:
    # in a network that has nothing but loopback, on which registry-1.docker.io is
    registries.needed("docker-registry", "skopeo", "ip")
    if not Path("/etc/docker").is_dir():
        pytest.skip("/etc/docker is not there to be mounted upon")
    authority = registries.certificates(tmp_path / "certificates", "registry-1.docker.io")
    for name in ("docker.io", "registry-1.docker.io"):
        (tmp_path / "docker/certs.d" / name).mkdir(parents=True)
        (tmp_path / "docker/certs.d" / name / "ca.crt").write_bytes(authority.read_bytes())
    (tmp_path / "hosts").write_text("127.0.0.1 localhost registry-1.docker.io\n")
    tls = {"certificate": f"{tmp_path}/certificates/server.crt", "key": f"{tmp_path}/certificates/server.key"}
    settings = {
        "version": 0.1, "storage": {"filesystem": {"rootdirectory": f"{tmp_path}/data"}},
        "http": {"addr": "127.0.0.1:443", "tls": tls},
    }  # fmt: skip
    (tmp_path / "config.yml").write_text(json.dumps(settings))
    script = f"""
        ip link set lo up
        mount --bind {tmp_path}/hosts /etc/hosts
        mount --bind {tmp_path}/docker /etc/docker
        mount -t tmpfs none /var/lib/containers
        docker-registry serve {tmp_path}/config.yml >{tmp_path}/log 2>&1 &
        trap "kill $!; wait" EXIT
        for _ in $(seq 200); do ss -ltn | grep -q 127.0.0.1:443 && break; sleep 0.05; done
        skopeo copy -q oci:{busybox_oci} docker://docker.io/library/wanted:latest
        "$@" pull wanted
        "$@" images
        "$@" tag wanted team/other:2
        "$@" push team/other:2
        "$@" run --rm --pull always docker.io/team/other:2 echo from Docker
    """
    result = subprocess.run(
        ["unshare", "-mn", "sh", "-euc", script, "sh", *minirun.command([])], stdin=subprocess.DEVNULL,
        env=minirun.environment({"HTTPS_PROXY": "", "https_proxy": ""}), capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr + (tmp_path / "log").read_text()
    lines = result.stdout.splitlines()
    assert lines[:2] == ["Using default tag: latest", "latest: Pulling from library/wanted"]
    assert "Status: Downloaded newer image for wanted:latest" in lines
    assert "docker.io/library/wanted:latest" in lines
    assert [line.split()[:2] for line in lines if line.startswith("wanted ")] == [["wanted", "latest"]]
    assert "The push refers to repository [docker.io/team/other]" in lines
    assert lines[-1] == "from Docker"
