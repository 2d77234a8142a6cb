"""A bar for each layer: for a person, and only where it takes long."""

from __future__ import annotations

import os

import pytest

from minirun.cli import progress


@pytest.mark.parametrize(
    ("name", "read", "total", "line"),
    [
        ("01-base.tar", 0, 10**6, "01-base.tar               [                              ]  0B/1MB"),
        ("01-base.tar", 500_000, 10**6, "01-base.tar               [==============>               ]  500kB/1MB"),
        ("01-base.tar", 10**6, 10**6, "01-base.tar               [==============================]  1MB/1MB"),
        ("-", 18_300_000, 0, "-                         18.3MB"),
        ("a" * 30, 0, 0, "a" * 23 + "…  0B"),
        ("a\x1b[2J", 0, 0, "a\\x1b[2J                  0B"),
    ],
)
def test_a_bar_shows_how_much_of_a_layer_was_read(name: str, read: int, total: int, line: str) -> None:
    assert progress.line(name, read, total) == line


def test_nothing_is_shown_in_the_first_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "isatty", lambda _descriptor: True)
    bars = progress.Bars()
    bars.layer("a.tar", 100)(50)
    assert capsys.readouterr().err == ""


def test_later_each_layer_has_its_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _descriptor: True)
    bars = progress.Bars()
    bars.begun -= 2
    told = bars.layer("a.tar", 100)
    told(50)
    told(60)  # too soon after the last
    told(100)
    told(100)  # nothing new
    bars.layer("b.tar", 0)(7)
    bars.layer("", 0)
    drawn = capsys.readouterr().err
    assert drawn.count("50B/100B") == drawn.count("100B/100B") == 1
    assert drawn.endswith("100B/100B\x1b[K\n")


def test_layers_that_are_unpacked_at_once_keep_their_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "isatty", lambda _descriptor: True)
    bars = progress.Bars()
    bars.begun -= 2
    first, second = bars.layer("a.tar", 100), bars.layer("b.tar", 200)
    first(50)
    bars.shown -= 1
    second(100)
    bars.shown -= 1
    first(100)
    drawn = capsys.readouterr().err
    last = drawn.rpartition("\x1b[2A")[2]
    assert [row.split()[0] for row in last.strip().split("\n")] == ["a.tar", "b.tar"]
    assert "100B/100B" in last
    assert "100B/200B" in last


def test_no_more_lines_are_drawn_again_than_a_terminal_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _descriptor: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda _descriptor: os.terminal_size((80, 5)))
    bars = progress.Bars()
    bars.begun -= 2
    for number in range(20):
        bars.shown -= 1
        bars.layer(f"{number}.tar", 100)(50)
    assert list(bars.rows) == [f"{number}.tar" for number in range(16, 20)]


def test_nothing_is_shown_to_a_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _descriptor: False)
    bars = progress.Bars()
    bars.begun -= 2
    bars.layer("a.tar", 100)(100)
    bars.layer("", 0)
    assert capsys.readouterr().err == ""
