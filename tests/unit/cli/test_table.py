"""Lists of things: tables, JSON, formats; and what a terminal must not get."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from minirun.cli import screen, table
from minirun.errors import BadInput

TITLES = {"ID": "CONTAINER ID", "Names": "NAMES", "Status": "STATUS"}
ROWS = [
    {"ID": "4f5e6d7c8b9a", "Names": "web", "Status": "Up 3 seconds", "Label": {"k": "v"}.get},
    {"ID": "123456789abc", "Names": "a-long-name", "Status": "Created", "Label": {"k": "w"}.get},
]


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a person read standard output."""
    monkeypatch.setattr(screen, "is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(capsys: pytest.CaptureFixture[str], form: str = "", **options: object) -> str:
    table.show(ROWS, TITLES, ["ID", "Names", "Status"], form, **options)  # type: ignore[arg-type]  # one test's options
    return capsys.readouterr().out


@pytest.mark.parametrize("form", ["", "table"])
def test_columns_are_as_wide_as_docker_makes_them(capsys: pytest.CaptureFixture[str], form: str) -> None:
    assert shown(capsys, form) == (
        "CONTAINER ID   NAMES         STATUS\n"
        "4f5e6d7c8b9a   web           Up 3 seconds\n"
        "123456789abc   a-long-name   Created\n"
    )  # fmt: skip


def test_a_narrow_column_is_ten_wide(capsys: pytest.CaptureFixture[str]) -> None:
    table.show([{"A": "1", "B": "2"}], {"A": "A", "B": "B"}, ["A", "B"])
    assert capsys.readouterr().out == "A         B\n1         2\n"


def test_a_table_of_ones_own_has_titles_for_fields_and_labels(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, r'table {{.Names}}\t{{.Label "k"}}') == (
        "NAMES         k\n"
        "web           v\n"
        "a-long-name   w\n"
    )  # fmt: skip


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "json").splitlines()
    assert json.loads(lines[1]) == {"ID": "123456789abc", "Names": "a-long-name", "Status": "Created"}


def test_a_format_is_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "{{.Names}}={{.ID}}") == "web=4f5e6d7c8b9a\na-long-name=123456789abc\n"


@pytest.mark.parametrize("form", ["{{.Nome}}", "table {{.Nome}}"])
def test_an_unknown_field_is_refused_also_where_there_is_no_row(form: str) -> None:
    with pytest.raises(BadInput, match="there is no field 'Nome'"):
        table.show([], TITLES, ["ID"], form)


def test_a_cell_cannot_break_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    table.show([{"A": "x\ny\x1b[2J"}], {"A": "A"}, ["A"])
    assert capsys.readouterr().out == "A\nx\\ny\\x1b[2J\n"


@pytest.mark.usefixtures("on_terminal")
def test_colours_do_not_move_columns(capsys: pytest.CaptureFixture[str]) -> None:
    table.show(ROWS, TITLES, ["Status", "Names"], colours={"Status": {"Up": screen.GREEN}})
    assert capsys.readouterr().out == (
        "STATUS         NAMES\n"
        "\x1b[32mUp 3 seconds\x1b[0m   web\n"
        "Created        a-long-name\n"
    )  # fmt: skip


@pytest.mark.usefixtures("on_terminal")
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_there_are_no_colours_for_who_wants_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    table.show(ROWS, TITLES, ["Status"], colours={"Status": {"Up": screen.GREEN}})
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.usefixtures("on_terminal")
def test_a_terminal_gets_no_escape_codes_from_a_format(capsys: pytest.CaptureFixture[str]) -> None:
    table.show_objects([{"Label": "a\x1b]0;title\x07\u202eb\udcff\nc"}], "{{.Label}}")
    assert capsys.readouterr().out == "a\\x1b]0;title\\x07\\u202eb\\xff\nc\n"


def test_a_pipe_gets_the_bytes_as_they_are() -> None:
    code = "from minirun.cli import screen; screen.write('/a\\udcff\\x1b[31m\\n')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"/a\xff\x1b[31m\n"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("sh -c 'x'", "\"sh -c 'x'\""), ('a"b\\c', '"a\\"b\\\\c"'), ("a\tb\nc\x00", '"a\\tb\\nc\\x00"'), ("é…", '"é…"')],
)
def test_text_is_quoted_as_go_does(text: str, quoted: str) -> None:
    assert screen.quote(text) == quoted
