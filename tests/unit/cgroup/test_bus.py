"""What is said on D-Bus is what jeepney says, and what comes is read as jeepney reads it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    Parser,
    new_error,
    new_method_call,
    new_method_return,
    new_signal,
)

from minirun.cgroup import bus, marshalling

SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
ADDRESS = DBusAddress("/org/freedesktop/systemd1", SYSTEMD[0], SYSTEMD[2])

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
NUMBERS = {"y": 8, "u": 32, "t": 64}
TYPES = st.recursive(
    st.sampled_from("yutbsv"),
    lambda inner: inner.map("a{}".format) | st.lists(inner, min_size=1, max_size=3).map("".join).map("({})".format),
    max_leaves=4,
)


@st.composite
def valued(draw: st.DrawFn) -> tuple[str, object]:
    """A type, and a value of it."""
    kind = draw(TYPES)
    return kind, draw(values_of(kind))


def values_of(kind: str) -> st.SearchStrategy[object]:
    """Values of the one complete type *kind*."""
    sign = kind[0]
    if sign in NUMBERS:
        return st.integers(0, 2 ** NUMBERS[sign] - 1)
    if sign == "b":
        return st.booleans()
    if sign == "s":
        return words
    if sign == "v":
        return st.sampled_from("yutbs").flatmap(lambda inner: st.tuples(st.just(inner), values_of(inner)))
    if sign == "a":
        return st.lists(values_of(kind[1:]), max_size=3)
    return st.tuples(*map(values_of, marshalling.types(kind[1:-1])))


@given(st.lists(valued(), max_size=3), st.integers(1, 2**32 - 1))
def test_a_call_has_the_bytes_that_jeepney_gives_it(arguments: list[tuple[str, object]], serial: int) -> None:
    signature = "".join(kind for kind, _ in arguments)
    values = tuple(value for _, value in arguments)
    theirs = new_method_call(ADDRESS, "Method", signature or None, values).serialise(serial=serial)
    assert bus.encode(serial, *SYSTEMD, "Method", signature, *values) == theirs


@given(valued())
def test_a_value_is_read_as_it_was_written(pair: tuple[str, object]) -> None:
    kind, value = pair
    data = bytearray()
    marshalling.put(data, kind, value)
    assert [*marshalling.values(bytes(data), kind)] == [value]


def test_a_type_that_systemd_does_not_use_is_told() -> None:
    with pytest.raises(OSError, match="unknown type d"):
        marshalling.get(bytes(8), 0, "d")


class Daemon(threading.Thread):
    """A bus that answers the n-th message with the n-th of *answers*, as jeepney writes them."""

    def __init__(self, path: Path, answers: list[list[Message]], *, greeting: bytes = b"OK 0123\r\n") -> None:
        super().__init__()
        self.answers = answers
        self.greeting = greeting
        self.heard: list[Message] = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.start()

    def run(self) -> None:
        """Serve one client until it goes, or the answers are at an end."""
        peer, _ = self.socket.accept()
        with self.socket, peer, peer.makefile("rb") as lines:
            assert lines.readline().startswith(b"\0AUTH EXTERNAL ")
            peer.sendall(self.greeting)
            if lines.readline() != b"BEGIN\r\n":
                return
            parser = Parser()
            for serial, answers in enumerate(self.answers, 1):
                while (message := parser.get_next_message()) is None:
                    if not (data := lines.read1()):
                        return
                    parser.add_data(data)
                self.heard.append(message)
                message.header.fields[HeaderFields.sender] = ":1.7"
                for answer in answers:
                    if HeaderFields.reply_serial in answer.header.fields:
                        answer.header.fields[HeaderFields.reply_serial] = message.header.serial
                    # in two pieces, as a stream may give them
                    data = answer.serialise(serial=serial)
                    peer.sendall(data[:21])
                    peer.sendall(data[21:])


CALLED = new_method_call(ADDRESS, "Anything")
CALLED.header.serial = 1
CALLED.header.fields[HeaderFields.sender] = ":1.7"
HELLO = new_method_return(CALLED, "s", (":1.7",))
ACQUIRED = new_signal(
    DBusAddress("/org/freedesktop/DBus", interface="org.freedesktop.DBus"), "NameAcquired", "s", (":1.7",)
)
REMOVED = new_signal(ADDRESS, "JobRemoved", "uoss", (7, "/job/7", "a.scope", "done"))


def test_a_reply_is_told_from_signals_which_are_kept(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "bus", [[HELLO, ACQUIRED], [REMOVED, new_method_return(CALLED, "o", ("/job/7",))]])
    with bus.Bus(str(tmp_path / "bus"), 5) as connection:
        assert connection.call(*SYSTEMD, "StartTransientUnit", "sb", "a.scope", True).values() == ["/job/7"]
        assert connection.signal().values() == [":1.7"]
        assert connection.signal().values() == [7, "/job/7", "a.scope", "done"]
    daemon.join()
    assert daemon.heard[0].header.fields[HeaderFields.member] == "Hello"
    assert daemon.heard[1].body == ("a.scope", True)


def test_an_error_is_raised_with_its_name_and_sentence(tmp_path: Path) -> None:
    refused = new_error(CALLED, "org.freedesktop.systemd1.UnitExists", "s", ("Unit a.scope was already loaded.",))
    daemon = Daemon(tmp_path / "bus", [[HELLO], [refused]])
    with bus.Bus(str(tmp_path / "bus"), 5) as connection, pytest.raises(bus.Refused) as caught:
        connection.call(*SYSTEMD, "StartTransientUnit")
    daemon.join()
    assert caught.value.name == "org.freedesktop.systemd1.UnitExists"
    assert caught.value.text == "Unit a.scope was already loaded."


def test_a_bus_that_turns_us_away_is_an_error(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "bus", [], greeting=b"REJECTED EXTERNAL\r\n")
    with pytest.raises(OSError, match="REJECTED"):
        bus.Bus(str(tmp_path / "bus"), 5)
    daemon.join()


def test_a_bus_that_goes_away_is_an_error(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "bus", [[HELLO]])
    with bus.Bus(str(tmp_path / "bus"), 5) as connection, pytest.raises(ConnectionResetError):
        connection.signal()
    daemon.join()


def test_no_bus_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        bus.Bus(str(tmp_path / "bus"), 5)
