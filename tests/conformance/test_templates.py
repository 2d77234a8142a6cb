"""Formats give what Go's own text/template gives: podman renders them, on an image that both describe alike.

podman's structures are Go's, with fields that JSON has not got, or has otherwise: what is compared is of maps, lists,
texts and numbers, which JSON has just so. It puts {{range .}} around all, so that $ is another thing.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minirun.cli.template import Template
from minirun.errors import BadInput

FORMATS = [
    "{{.Comment}}",
    "{{.Labels}}",
    "{{json .Labels}}",
    "{{.Config.Env}}",
    "{{json .Config.Cmd}}",
    "{{len .Config.Env}}",
    "{{range .Config.Env}}{{.}};{{end}}",
    "{{range $i, $e := .Config.Env}}{{$i}}={{$e}} {{end}}",
    "{{range $k, $v := .Labels}}{{$k}}:{{$v}},{{end}}",
    '{{range $k, $v := .Labels}}{{if eq $k "b"}}{{break}}{{end}}{{$v}}{{end}}',
    '{{range $k, $v := .Labels}}{{if eq $k "b"}}{{continue}}{{end}}{{$v}}{{end}}',
    '{{index .Labels "a"}}',
    '{{index .Labels "none"}}',
    "{{index .Config.Env 0}}",
    "{{.Labels.a}}",
    "{{.Labels.none}}",
    '{{join .Config.Env ","}}',
    "{{upper .Comment}}",
    '{{.Comment | lower | printf "%q"}}',
    "{{title .Comment}}",
    '{{split "a,b" ","}}',
    "{{with .Config}}{{.WorkingDir}}{{end}}",
    "{{if .Labels}}yes{{else}}no{{end}}",
    "{{range .Config.Volumes}}x{{else}}none{{end}}",
    "{{if .Config.Volumes}}yes{{else if .Comment}}else{{end}}",
    "{{if and .Labels .Comment}}both{{end}}",
    '{{or .Comment "x"}}',
    '{{and 1 0}} {{or 0 ""}} {{not 0}} {{not "a"}}',
    '{{eq .Comment "a" "hello World"}} {{ne .Comment "a"}}',
    '{{lt "a" "b"}} {{le 2 2}} {{gt 1 2}} {{ge 3 2}}',
    '{{printf "%s|%10s|%-10s|" .Comment .Comment .Comment}}',
    '{{printf "%d %5d %05d %x %o %b %c %+d" 42 42 42 255 8 5 65 7}}',
    '{{printf "%v %t %q %.3s %%" true false "hi" "abcdef"}}',
    '{{printf "%6.2f %e %g" 3.14159 1234.5 0.5}}',
    '{{printf "%[2]s %[1]s" "a" "b"}}',
    '{{print 1 2 "a" 3 4}}',
    '{{print "a" "b"}}',
    '{{println 1 "a"}}x',
    "{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}",
    "{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}",
    "a {{- .Comment -}} b",
    "a{{/* nothing */}}b",
    "a {{- /* nothing */ -}} b",
    '{{`raw}}`}}{{"}}"}}',
    '{{"\\u00e9\\""}}',
    '{{len "é"}}',
    "{{slice .Comment 1}} {{slice .Comment 1 3}}",
    '{{html "<a b=\'c\'>"}} {{urlquery "a b&c"}}',
    "{{1.5}} {{1e3}} {{0x1F}} {{'a'}} {{true}}",
    '{{len .Labels | printf "%03d"}}',
    "{{(index .Config.Env 0) | upper}}",
    "{{(len .Config.Env) | eq 2}}",
    "{{range $v := .Config.Env}}{{$v}}{{end}}",
    "{{with $l := .Labels}}{{$l.a}}{{end}}",
    '{{if not (eq .Comment "x")}}other{{end}}',
    "{{.RootFS.Type}}",
    "{{range .RootFS.Layers}}{{slice . 0 7}}{{end}}",
    '{{.Size | printf "%d"}}',
]
BROKEN = [
    "{{.Nosuch}}",
    "{{.Comment.Nosuch}}",
    "{{.Comment",
    "{{if .Comment}}",
    "{{end}}",
    "{{nosuch .Comment}}",
    "{{index .Config.Env 99}}",
    "{{len 3}}",
    "{{range .Comment}}{{end}}",
    "{{eq .Comment 1}}",
    "{{lt .Labels 1}}",
    "{{}}",
    "{{.Comment | 3}}",
    "{{$x}}",
    "{{(.Comment}}",
    "{{.Comment)}}",
    '{{"a}}',
    "{{upper}}",
    "{{slice .Comment 99}}",
    "{{/* open}}",
    "{{eq true 1}}",
    "{{$x = 3}}",
    "{{range $a, $b, $c := .Labels}}{{end}}",
]


@pytest.fixture(scope="module")
def podman(podmans: Path) -> Iterator[list[str]]:
    """The command, with a store of its own in which the image `told` is."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    tar = podmans / "root.tar"
    with tarfile.open(tar, "w") as file:
        entry = tarfile.TarInfo("hello")
        entry.size = 5
        file.addfile(entry, io.BytesIO(b"hello"))
    words = ["podman", "--root", str(podmans / "root"), "--runroot", str(podmans / "run"), "--storage-driver", "vfs"]
    changes = [
        "LABEL a=1",
        "LABEL b=2",
        "LABEL c=three",
        "ENV ONE=1",
        "ENV TWO=2",
        'CMD ["sh", "-c", "echo <&>"]',
        "WORKDIR /srv",
    ]
    flags = [word for change in changes for word in ("-c", change)]
    made = subprocess.run(
        [*words, "import", "-m", "hello World", *flags, str(tar), "told"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"podman imports no image here: {made.stderr.strip()}")
    yield words
    subprocess.run([*words, "rmi", "-f", "told"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def described(podman: list[str]) -> dict[str, Any]:
    """What podman says of the image, as JSON."""
    shown = subprocess.run([*podman, "image", "inspect", "told"], capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(shown)[0]
    return found


def by_go(podman: list[str], form: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*podman, "image", "inspect", "--format", form, "told"], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_gives_what_go_gives(podman: list[str], described: dict[str, Any], form: str) -> None:
    expected = by_go(podman, form)
    assert expected.returncode == 0, expected.stderr
    assert Template(form).render(described).rstrip("\n") == expected.stdout.rstrip("\n")


@pytest.mark.parametrize("form", BROKEN)
def test_a_format_that_go_refuses_is_refused(podman: list[str], described: dict[str, Any], form: str) -> None:
    assert by_go(podman, form).returncode != 0
    with pytest.raises(BadInput):
        Template(form).render(described)


def test_the_image_is_described_as_the_comparison_wants(podman: list[str], described: dict[str, Any]) -> None:
    assert described["Labels"] == {"a": "1", "b": "2", "c": "three"}
    assert Path(podman[2]).is_dir()
