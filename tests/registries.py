"""Registries on loopback: Debian's docker-registry, with a directory of its own, and other people's clients of it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER, PASSWORD = "ada", "correct:horse"

# skopeo and podman remember blobs in a file of the host's, which no option moves
APART = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /var/lib/containers && exec "$@"', "sh"]


@dataclass(frozen=True)
class Registry:
    """A registry that runs.

    Attributes:
        place: ``localhost:<port>``.
        folder: what it stores.
        authority: the certificate of who signed its own; None: it speaks plain http.
        log: what it did, a line each.
    """

    place: str
    folder: Path
    authority: Path | None
    log: Path

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self.place.rpartition(":")[2])

    def requests(self) -> list[str]:
        """What it was asked so far: ``GET /v2/app/manifests/1``."""
        found = []
        for line in self.log.read_text().splitlines():
            if "http.request.method=" in line and "response completed" in line:
                method = line.partition("http.request.method=")[2].split()[0]
                found.append(f"{method} {line.partition('http.request.uri=')[2].split()[0]}".replace('"', ""))
        return found


def needed(*programs: str) -> None:
    """Skip a test for which one of *programs* is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def free_port() -> int:
    """A port on loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def registry(folder: Path, *, tls: bool = False, password: bool = False, clients: bool = False) -> Iterator[Registry]:
    """Run a registry until the end of the block.

    Args:
        folder: is made, for it.
        tls: whether it speaks TLS, with a certificate by an authority that nobody knows.
        password: whether it wants USER and PASSWORD.
        clients: whether it speaks TLS with those alone who have a certificate by the authority of its own.
    """
    needed("docker-registry")
    folder.mkdir()
    port = free_port()
    http: dict[str, object] = {"addr": f"127.0.0.1:{port}", "secret": "of-a-test"}
    settings: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "text"},
        "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}, "delete": {"enabled": True}},
        "http": http,
    }
    authority = None
    if tls or clients:
        authority = certificates(folder / "certificates")
        http["tls"] = {
            "certificate": f"{folder}/certificates/server.crt", "key": f"{folder}/certificates/server.key",
            **({"clientcas": [str(authority)]} if clients else {}),
        }  # fmt: skip
    if password:
        needed("htpasswd")
        made = subprocess.run(
            ["htpasswd", "-niB", "-C", "5", USER], input=PASSWORD, capture_output=True, text=True, check=True
        )
        (folder / "htpasswd").write_text(made.stdout)
        settings["auth"] = {"htpasswd": {"realm": "a test's", "path": f"{folder}/htpasswd"}}
    (folder / "config.yml").write_text(json.dumps(settings))  # JSON is YAML
    log = folder / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )  # fmt: skip
    try:
        _wait_for(port, process, log)
        yield Registry(f"localhost:{port}", folder / "data", authority, log)
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"docker-registry does not listen:\n{log.read_text()}")


def certificates(folder: Path, host: str = "localhost") -> Path:
    """Make an authority, a server's certificate by it for *host*, and a client's; returns the authority's."""
    needed("openssl")
    folder.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=of a test",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    (folder / "names").write_text(f"subjectAltName=DNS:{host},IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                "2", "-extfile", "names", "-out", f"{name}.crt")  # fmt: skip
    return folder / "ca.crt"


def skopeo(*arguments: str | Path) -> str:
    """Run skopeo, apart from what it remembers of this host; returns what it prints."""
    needed("skopeo")
    return _apart("skopeo", *arguments)


def podman(folder: Path, *arguments: str | Path) -> str:
    """Run podman with a store in *folder*; returns what it prints."""
    needed("podman")
    places = ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp"]
    return _apart("podman", *places, "--storage-driver", "vfs", *arguments)


def _apart(*command: str | Path) -> str:
    result = subprocess.run([*APART, *map(str, command)], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, f"{command}: {result.stderr}"
    return result.stdout


def fill(where: Registry, layout: Path, names: Sequence[str]) -> None:
    """Have skopeo push the OCI layout *layout* under *names*."""
    for name in names:
        secure = [] if where.authority is None else ["--dest-cert-dir", str(where.authority.parent)]
        plain = ["--dest-tls-verify=false"] if where.authority is None else []
        skopeo("copy", "--quiet", *plain, *secure, f"oci:{layout}", f"docker://{where.place}/{name}")


def manifest(where: Registry, name: str) -> bytes:
    """What skopeo says that the registry has under *name*, byte for byte."""
    return skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{where.place}/{name}").encode()


def put_blob(where: Registry, name: str, data: bytes) -> dict[str, object]:
    """Give a registry a blob; returns its size and digest."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    location = _request(where, "POST", f"/v2/{name}/blobs/uploads/")
    path = location.partition("localhost")[2].partition("/")[2]
    _request(where, "PUT", f"/{path}&digest={digest}", data, "application/octet-stream")
    return {"digest": digest, "size": len(data)}


def put_manifest(where: Registry, name: str, reference: str, document: object, media_type: str) -> dict[str, object]:
    """Give a registry a manifest, whose blobs it has; returns its descriptor."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    _request(where, "PUT", f"/v2/{name}/manifests/{reference}", data, media_type)
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _request(where: Registry, method: str, path: str, body: bytes = b"", media_type: str = "") -> str:
    connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=60)
    try:
        headers = {"Content-Type": media_type} if media_type else {}
        connection.request(method, path, body, {"Host": where.place, **headers})
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status in (201, 202), f"{method} {path}: {answer.status} {said!r}"
        return answer.headers.get("Location", "")
    finally:
        connection.close()
