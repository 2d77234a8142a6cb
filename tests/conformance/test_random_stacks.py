"""Random stacks of layers: what the kernel shows of them once minirun has stored them is what umoci unpacks."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from minirun.engine.mountplace import MountPlace
from minirun.home import Home
from minirun.kernel import tree
from minirun.layer.store import Layers
from tests.command import Minirun
from tests.stacks import STACKS, Tree, Wanted, settle
from tests.trees import Node, describe

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and mounts need root"),
    pytest.mark.skipif(shutil.which("umoci") is None, reason="needs umoci"),
]

THOROUGH = "MINIRUN_TEST_THOROUGH" in os.environ
OCI = "application/vnd.oci.image."
Described = dict[bytes, Node]


def lay_out(blobs: list[bytes], top: Path, *, compressed: bool = False) -> None:
    """An OCI layout at *top* with the image `stack:x` of these layers, some of them compressed by gzip where asked."""
    (top / "blobs/sha256").mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (top / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": f"{OCI}{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    layers = [
        put(gzip.compress(blob, 1), "layer.v1.tar+gzip") if compressed and number % 3 else put(blob, "layer.v1.tar")
        for number, blob in enumerate(blobs)
    ]
    diff_ids = [f"sha256:{hashlib.sha256(blob).hexdigest()}" for blob in blobs]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    described = put(json.dumps(config).encode(), "config.v1+json")
    whole = put(json.dumps({"schemaVersion": 2, "config": described, "layers": layers}).encode(), "manifest.v1+json")
    named = {**whole, "annotations": {"org.opencontainers.image.ref.name": "stack:x"}}
    (top / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (top / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def by_umoci(layout: Path, bundle: Path) -> Described:
    """What umoci unpacks."""
    arguments: list[str | Path] = ["umoci", "unpack", "--image", f"{layout}:stack:x", bundle]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return describe(bundle / "rootfs")


def by_minirun(blobs: list[bytes], home: Home) -> Described:
    """What the kernel shows of the layers as minirun keeps them, mounted as `image mount` does it."""
    home.create()
    layers = Layers(home)
    parent = None
    for blob in blobs:
        parent, unpacked = layers.add([blob], parent)
        assert unpacked is None or unpacked.warnings == ()
    assert parent is not None
    stack = layers.stack(parent.id)
    roots = [home.diff(layer.diff) for layer in layers.chain(parent.id) if layer.has_root]
    place = MountPlace(home, parent.id)
    place.attach(stack, roots[-1] if roots else stack[-1])
    try:
        return describe(place.root)
    finally:
        place.clear()


def compare(ours: Described, theirs: Described, expected: Tree) -> None:
    """Entry by entry, but for the times of directories to which tools give different ones."""
    assert theirs.keys() - {b""} == expected.nodes.keys()  # the stack is what it was meant to be
    for nodes in (ours, theirs):
        for name in expected.timeless & nodes.keys():
            nodes[name] = replace(nodes[name], mtime_ns=0)
    assert ours == theirs


@settings(max_examples=3000 if THOROUGH else 100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wanted=STACKS)
def test_any_stack_is_as_umoci_unpacks_it(tmp_path_factory: pytest.TempPathFactory, wanted: list[list[Wanted]]) -> None:
    here = tmp_path_factory.mktemp("stack")
    blobs, expected = settle(wanted)
    try:
        lay_out(blobs, here / "layout")
        theirs = by_umoci(here / "layout", here / "bundle")
        ours = by_minirun(blobs, Home(str(here / "root"), str(here / "run")))
        compare(ours, theirs, expected)
    finally:
        tree.remove(str(here))


@settings(max_examples=100 if THOROUGH else 6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wanted=STACKS)
def test_any_image_that_is_loaded_is_as_umoci_unpacks_it(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[list[Wanted]]
) -> None:
    here = tmp_path_factory.mktemp("image")
    minirun = Minirun(here / "root", here / "run")
    blobs, expected = settle(wanted)
    try:
        lay_out(blobs, here / "layout", compressed=True)
        theirs = by_umoci(here / "layout", here / "bundle")
        assert minirun("load", "-i", here / "layout", check=True).stdout == "Loaded image: stack:x\n"
        place = minirun("image", "mount", "stack:x", check=True).stdout.removesuffix("\n")
        try:
            ours = describe(place)
        finally:
            minirun("image", "unmount", "stack:x", check=True)
        compare(ours, theirs, expected)
    finally:
        tree.remove(str(here))
