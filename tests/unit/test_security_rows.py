"""docs/security.md names a test for each case, and each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
DOCUMENT = TESTS.parent / "docs/security.md"
NAMED = re.compile(r"`([a-z_/0-9]+\.py)::(test_[a-z_0-9]+)`")
HEADS = ("| Case |", "| Fault |")


def rows() -> list[str]:
    """The rows of the tables that name tests, without their heads."""
    found: list[str] = []
    inside = False
    for line in DOCUMENT.read_text().splitlines():
        inside = line.startswith(HEADS) or (inside and line.startswith("|"))
        if inside and not line.startswith((*HEADS, "|---")):
            found.append(line)
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.split("|")[1].strip()[:40])
def test_each_case_has_tests_that_exist(row: str) -> None:
    named = NAMED.findall(row)
    assert named
    assert row.count("::") == len(named)
    for path, name in named:
        functions = {
            node.name for node in ast.walk(ast.parse((TESTS / path).read_text())) if isinstance(node, ast.FunctionDef)
        }
        assert name in functions, path


def test_there_are_both_tables() -> None:
    assert len(rows()) > 40
