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
    lines = capsys.readouterr().err.split("\n")
    assert [line.count("\r") for line in lines] == [2, 0]
    assert lines[0].endswith("100B/100B\x1b[K")


def test_nothing_is_shown_to_a_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _descriptor: False)
    bars = progress.Bars()
    bars.begun -= 2
    bars.layer("a.tar", 100)(100)
    bars.layer("", 0)
    assert capsys.readouterr().err == ""
