"""Documents say where things are, and they are there; and the notation of their examples means what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minirun.cli import catalog, flags
from minirun.errors import MinirunError
from tests import console

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "rootfs-fixtures").glob("*/*.md")]
)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)|\]\((#[^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
CODE = re.compile(r"`(minirun/[\w./]+|tests/[\w./]+|docs/[\w./-]+)`")


def anchors(document: Path) -> set[str]:
    """Return the anchors that a heading of *document* gives, made as forges make them."""
    found = set()
    for line in re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL).splitlines():
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add("#" + words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    for match in LINK.finditer(text):
        target, anchor, own_anchor, source = match.groups()
        name = target or source or ""
        if name.startswith(("https://", "http://")):
            continue
        path = (document.parent / name) if name else document
        assert path.exists(), f"{name}: there is no such file"
        if wanted := anchor or own_anchor:
            assert wanted in anchors(path), f"{name}{wanted}: there is no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_files_that_are_named_exist(document: Path) -> None:
    for name in CODE.findall(document.read_text()):
        assert (PROJECT / name).exists(), name


def test_the_reference_names_every_flag_of_run() -> None:
    text = (PROJECT / "docs/reference/run.md").read_text()
    for flag in (*flags.RUN, flags.PLATFORM):
        assert f"`--{flag.name}" in text, flag.name


def test_the_reference_names_every_command() -> None:
    text = (PROJECT / "docs/reference/commands.md").read_text()
    for name in (*catalog.COMMANDS, *(name.replace("-", " ", 1) for name in catalog.GROUPED)):
        assert f"`{name}" in text, name


def test_the_reference_names_every_refusal_and_its_exit_code() -> None:
    text = (PROJECT / "docs/reference/exit-codes.md").read_text()
    pending = [MinirunError]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        assert f"`{kind.__name__}`" in text, kind.__name__
        assert f"| {kind.exit_code} " in text, kind.__name__


def test_the_list_of_decisions_names_every_one() -> None:
    folder = PROJECT / "docs/decisions"
    text = (folder / "README.md").read_text()
    assert [path.name for path in sorted(folder.glob("0*.md")) if f"]({path.name})" not in text] == []


def test_a_console_block_is_taken_apart() -> None:
    text = "words\n```console\n$ a b\n1\n2\n$ c\n```\n```sh\n$ no\n```\n```console\n$ d\n3\n```\n"
    assert [(one.line, one.command, one.output) for one in console.examples(text)] == [
        (3, "a b", "1\n2\n"),
        (6, "c", ""),
        (12, "d", "3\n"),
    ]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a\n", "a\n"),
        ("3d5f0c9e1b42   2 seconds ago\n", "aaaabbbbcccc Less than a second ago\n"),
        ("4.1kB\n", "17.25MB\n"),
        ("12.3 µs  mkdir x\n", "  0.7 µs  mkdir x\n"),
        ("begin … end\n", "begin the middle end\n"),
        ("a\n…\nd\n", "a\nb\nc\nd\n"),
        ("a\n…\nd\n", "a\nd\n"),
    ],
)
def test_what_may_differ_is_no_difference(shown: str, printed: str) -> None:
    assert console.matches(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a\n", "b\n"),
        ("a\n", "a\nb\n"),
        ("a\nb\n", "a\n"),
        ("begin … end\n", "begin the middle\n"),
        ("2 containers\n", "3 containers\n"),
        ("Exited (0)\n", "Exited (1)\n"),
        ("a\n…\nd\n", "a\nb\n"),
    ],
)
def test_any_other_difference_is_one(shown: str, printed: str) -> None:
    assert not console.matches(shown, printed)
