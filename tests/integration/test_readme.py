"""What the documents show is what happens: each console block is typed, its output compared (see tests/console.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import Minirun
from tests.console import Reader, examples
from tests.outside import site

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    path for path in (PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))) if examples(path.read_text())
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_document_shows_what_happens(
    document: Path, minirun: Minirun, busybox_layers: Path, busybox_oci: Path, busybox_docker_tar: Path,
    ubuntu_layers: Path, tmp_path: Path,
) -> None:  # fmt: skip
    directory = tmp_path / "out"
    directory.mkdir()
    for built in (busybox_layers, busybox_oci, busybox_docker_tar, ubuntu_layers):
        (directory / built.name).symlink_to(built)
    reader = Reader(minirun, directory)
    with site("minirun-reader"):
        wrong = [answer for example in examples(document.read_text()) if (answer := reader.check(example))]
    assert not wrong, "\n\n".join(wrong)


def test_the_readme_has_a_tour() -> None:
    commands = [example.command for example in examples((PROJECT / "README.md").read_text())]
    for verb in ("run", "diff", "commit", "images", "ps", "rm", "rmi"):
        assert any(
            command.startswith(f"sudo minirun {verb} ") or command == f"sudo minirun {verb}" for command in commands
        ), verb
