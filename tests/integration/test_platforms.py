"""`run` and `create` take the image for the platform that is asked for, pull it, warn and refuse as Docker does."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import registries
from tests.command import LAUNCHER, Minirun
from tests.registries import Registry
from tests.small import small_layers

INDEX = "application/vnd.oci.image.index.v1+json"
MISMATCH = (
    "minirun: warning: the requested image's platform (linux/arm64) does not match the detected host platform "
    "(linux/amd64) and no specific platform was requested\n"
)


def platform_image(where: Registry, name: str, layers: Path, architecture: str) -> dict[str, object]:
    """Give a registry an image that says it is for *architecture*, and runs here; returns its descriptor."""
    data = gzip.decompress((layers / "00-base.tar.gz").read_bytes())
    layer = registries.put_blob(where, name, (layers / "00-base.tar.gz").read_bytes())
    config = {
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["echo", architecture]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}"]},
    }  # fmt: skip
    kind = "application/vnd.oci.image."
    document = {
        "schemaVersion": 2, "mediaType": f"{kind}manifest.v1+json",
        "config": {
            "mediaType": f"{kind}config.v1+json", **registries.put_blob(where, name, json.dumps(config).encode())
        },
        "layers": [{"mediaType": f"{kind}layer.v1.tar+gzip", **layer}],
    }  # fmt: skip
    made = registries.put_manifest(where, name, architecture, document, f"{kind}manifest.v1+json")
    return {**made, "platform": {"os": "linux", "architecture": architecture}}


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory, busybox_layers: Path) -> Path:
    """A small image, as a directory."""
    return small_layers(tmp_path_factory.mktemp("layers") / "small", busybox_layers)


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory, layers: Path) -> Iterator[str]:
    """The name of an image that a registry has for amd64 and arm64."""
    with registries.registry(tmp_path_factory.mktemp("registry") / "own") as where:
        made = [platform_image(where, "app", layers, architecture) for architecture in ("amd64", "arm64")]
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": made}
        registries.put_manifest(where, "app", "1", document, INDEX)
        yield f"{where.place}/app:1"


@pytest.fixture
def foreign(layers: Path, tmp_path: Path) -> Path:
    """A directory of layers that is said to be for arm64."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "00-base.tar.gz").write_bytes((layers / "00-base.tar.gz").read_bytes())
    (folder / "image.json").write_text(
        json.dumps({"architecture": "arm64", "os": "linux", "config": {"Cmd": ["true"]}})
    )
    return folder


def stored(minirun: Minirun, name: str) -> str:
    """For which architecture the image of a name is."""
    return minirun("image", "inspect", "-f", "{{.Architecture}}", name, check=True).stdout.strip()


def test_what_is_missing_is_pulled_for_the_platform(minirun: Minirun, name: str) -> None:
    result = minirun("run", "--rm", "--platform", "linux/arm64", name, check=True)
    assert result.stdout == "arm64\n"
    assert result.stderr.startswith(f"Unable to find image '{name}' locally\n1: Pulling from app\n")
    assert "warning" not in result.stderr
    again = minirun("run", "--rm", "--platform", "arm64", name, check=True)
    assert (again.stdout, again.stderr) == ("arm64\n", "")


def test_what_is_here_for_another_platform_is_missing(minirun: Minirun, name: str) -> None:
    minirun("pull", "-q", name, check=True)
    assert stored(minirun, name) == "amd64"
    refused = minirun("create", "--pull", "never", "--platform", "linux/arm64", name)
    assert refused.returncode == 125
    assert f"cannot find image {name} for linux/arm64: it is for linux/amd64" in refused.stderr
    assert f"`minirun pull --platform linux/arm64 {name}`" in refused.stderr
    made = minirun("create", "--platform", "linux/arm64", name, check=True)
    assert f"Unable to find image '{name}' locally" in made.stderr
    assert stored(minirun, name) == "arm64"
    box = made.stdout.strip()
    assert minirun("start", "-a", box, check=True).stdout == "arm64\n"
    # this host's comes back as any other does
    assert minirun("run", "--rm", "--platform", "linux/amd64", name, check=True).stdout == "amd64\n"
    assert stored(minirun, name) == "amd64"


def test_each_time_means_the_platforms_as_well(minirun: Minirun, name: str) -> None:
    minirun("pull", "-q", "--platform", "arm64", name, check=True)
    result = minirun("run", "--rm", "--pull", "always", "--platform", "arm64", name, check=True)
    assert result.stdout == "arm64\n"
    assert "Unable to find" not in result.stderr
    assert f"Status: Image is up to date for {name}" in result.stderr


def test_a_platform_that_a_registry_has_not_is_refused(minirun: Minirun, name: str) -> None:
    minirun("pull", "-q", name, check=True)
    refused = minirun("run", "--platform", "linux/s390x", name)
    assert refused.returncode == 125
    assert "it is for linux/amd64, linux/arm64, not for linux/s390x" in refused.stderr
    assert stored(minirun, name) == "amd64"
    assert minirun("ps", "-aq", check=True).stdout == ""


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--platform", "moon"], "no such platform is known"),
        (["--platform", "linux/arm64", "--memory", "much"], "much"),
        (["--platform", "linux/arm64", "--pull", "seldom"], "it is missing, always or never"),
    ],
)
def test_nothing_is_pulled_for_a_flag_that_is_bad(minirun: Minirun, name: str, flags: list[str], said: str) -> None:
    refused = minirun("run", *flags, name)
    assert refused.returncode == 125
    assert said in refused.stderr
    assert "Pulling" not in refused.stderr


def test_who_asked_for_no_platform_is_warned_of_another(minirun: Minirun, foreign: Path) -> None:
    for command in (["run", "--rm", str(foreign)], ["create", str(foreign)]):
        assert minirun(*command, check=True).stderr == MISMATCH
    assert minirun("run", "--rm", "--platform", "linux/arm64", foreign, check=True).stderr == ""


def test_a_directory_for_another_platform_is_refused(minirun: Minirun, foreign: Path) -> None:
    for flags in ([], ["--dry-run"]):
        refused = minirun("run", "--platform", "linux/amd64", *flags, f"{foreign}/")
        assert refused.returncode == 125
        assert f"cannot find image {foreign}/ for linux/amd64: it is for linux/arm64\n" in refused.stderr
        assert "minirun pull" not in refused.stderr
    assert minirun("run", "--platform", "arm64", "--dry-run", foreign, check=True).stdout


def test_an_image_that_says_no_architecture_is_for_everybody(minirun: Minirun, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "own.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("x"), io.BytesIO())
    minirun("import", tmp_path / "own.tar", "plain", check=True)
    record = (minirun.root / "tags/plain:latest").resolve()
    fields = json.loads(record.read_text())
    del fields["config"]["architecture"]
    record.write_text(json.dumps(fields))
    assert minirun("create", "plain", "x", check=True).stderr == ""
    assert minirun("create", "--platform", "linux/arm64", "plain", "x", check=True).stderr == ""


def test_who_asks_for_no_platform_pays_nothing_for_it(store: Minirun) -> None:
    shebang = LAUNCHER.read_text().splitlines()[0].removeprefix("#!").split()
    seen = {}
    for flags in ([], ["--platform", "linux/amd64"]):
        command = [*shebang, "-X", "importtime", str(LAUNCHER), "run", "--rm", *flags, "busybox", "true"]
        result = subprocess.run(command, env=store.environment(None), capture_output=True, text=True, check=True)
        seen[bool(flags)] = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    own = {"minirun.engine.platforms", "minirun.image.platform", "click"}
    assert own <= seen[True]
    assert not own & seen[False]
