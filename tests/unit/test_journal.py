"""The journal: what was written down is undone by whoever finds it, once, and never for somebody who is alive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from minirun import journal, jsonrecord
from minirun.errors import Conflict, MinirunError
from minirun.home import Home
from minirun.journal import Operation, Step
from minirun.kernel import files


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty store."""
    home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    home.create()
    return home


def die(operation: Operation) -> None:
    """Let go of an operation's mark as the kernel does for a process that was killed."""
    os.close(operation.descriptor)


def marks(home: Home) -> list[str]:
    """The names of all marks."""
    return os.listdir(home.folder("marks"))


def test_what_ends_normally_stays_and_has_no_mark(home: Home, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with Operation(home) as operation:
        operation.will("remove_file", str(made))
        made.touch()
        assert marks(home)
    assert made.exists()
    assert not marks(home)


def test_what_ends_by_an_exception_is_undone(home: Home, tmp_path: Path) -> None:
    made = tmp_path / "made"

    def fail() -> None:
        with Operation(home) as operation:
            operation.will("remove_file", str(made))
            made.touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not made.exists()
    assert not marks(home)


def test_an_operation_whose_process_died_is_undone_by_the_next(home: Home, tmp_path: Path) -> None:
    made = tmp_path / "made"
    operation = Operation(home)
    operation.will("remove_tree", str(made))
    made.mkdir()
    die(operation)
    assert journal.recover(home) == 1
    assert not made.exists()
    assert not marks(home)
    assert journal.recover(home) == 0


def test_undos_go_from_the_last_to_the_first(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    operation = Operation(home)
    # the wrong way round the folder would not be empty
    operation.will_all([["remove_cgroup", str(folder)], ["remove_file", str(folder / "file")]])
    folder.mkdir()
    (folder / "file").touch()
    die(operation)
    journal.recover(home, insist=True)
    assert not folder.exists()


def test_nobody_undoes_an_operation_whose_owner_lives(home: Home, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with Operation(home) as operation:
        operation.will("remove_file", str(made))
        made.touch()
        assert journal.recover(home) == 0
        assert made.exists()


def test_an_announcement_that_was_cut_short_is_nothing(home: Home, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.touch()
    Path(home.mark("1")).write_text(f'["remove_file", "{kept}"]')
    Path(home.mark("2")).write_bytes(bytes(4096) + b"\n")
    Path(home.mark("3")).touch()
    journal.recover(home, insist=True)
    assert kept.exists()
    assert not marks(home)


def test_what_came_before_a_restart_is_not_undone_after_it(home: Home, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    operation = Operation(home)
    operation.will("remove_file", str(before))
    before.touch()
    operation.restart([["remove_file", str(after)]])
    after.touch()
    die(operation)
    assert journal.recover(home) == 1
    assert before.exists()
    assert not after.exists()


def test_a_restart_that_was_cut_short_leaves_what_was_before(home: Home, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    operation = Operation(home, "1")
    operation.will("remove_file", str(before))
    before.touch()
    after.touch()
    Path(home.mark("1.next")).write_text(f'["remove_file", "{after}"]\n')
    die(operation)
    journal.recover(home, insist=True)
    assert not before.exists()
    assert not marks(home)


def test_an_undo_that_fails_waits_and_is_told_to_who_insists(home: Home, tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    operation = Operation(home, "1")
    operation.will("remove_file", str(folder))  # unlink(2) of a directory: EISDIR
    folder.mkdir()
    die(operation)
    second = Operation(home, "2")
    second.will("remove_file", str(other))
    other.touch()
    die(second)
    assert journal.recover(home) == 1
    assert not other.exists()
    assert marks(home) == ["1"]
    with pytest.raises(IsADirectoryError):
        journal.recover(home, insist=True)
    folder.rmdir()
    assert journal.recover(home, insist=True) == 1


def test_a_mark_that_is_damaged_stops_no_command_and_is_told_to_who_insists(home: Home) -> None:
    Path(home.mark("1")).write_text('["remove_file", /no/json]\n')
    assert journal.recover(home) == 0
    with pytest.raises(MinirunError, match="it is damaged"):
        journal.recover(home, insist=True)
    assert marks(home) == ["1"]


def test_an_undo_that_somebody_is_in_the_way_of_waits(home: Home) -> None:
    operation = Operation(home)
    operation.will("discard_image", home.root, "0" * 64)
    reader = files.lock(home.lock, exclusive=False)
    operation.undo()
    assert journal.recover(home, insist=True) == 0
    assert len(marks(home)) == 1
    os.close(reader)
    assert journal.recover(home, insist=True) == 1
    assert not marks(home)


def test_an_undo_that_fails_does_not_hide_what_went_wrong(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def fail() -> None:
        with Operation(home) as operation:
            operation.will("remove_file", str(folder))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(marks(home)) == 1


def test_steps_are_announced_before_the_first_is_done(home: Home, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"

    def fail() -> None:
        raise MinirunError("do it", "no")

    with pytest.raises(MinirunError), Operation(home) as operation:
        operation.carry_out(
            [
                Step("touch first", first.touch, ("remove_file", str(first))),
                Step("fail", fail, ("remove_file", str(second))),
            ]
        )
    assert not first.exists()


# Opens every mark, and comes to the locks only when told so: as a process that the scheduler made wait just there.
RECOVER_SLOWLY = """
import fcntl, sys
from minirun import journal, jsonrecord
from minirun.errors import MinirunError
from minirun.home import Home
real = fcntl.flock
def flock(descriptor, how):
    print("opened", flush=True)
    sys.stdin.readline()
    real(descriptor, how)
fcntl.flock = flock
print(journal.recover(Home(*sys.argv[1:])), flush=True)
"""


@pytest.mark.parametrize("how", ["done", "restart"])
def test_a_mark_that_is_finished_while_somebody_looks_at_it_is_left_alone(how: str, home: Home, tmp_path: Path) -> None:
    made = tmp_path / "made"
    operation = Operation(home)
    operation.will("remove_file", str(made))
    made.touch()
    with subprocess.Popen(
        [sys.executable, "-c", RECOVER_SLOWLY, home.root, home.runtime],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(journal.__file__).parent.parent,
    ) as other:  # fmt: skip
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "opened\n"
        if how == "done":
            operation.done()
        else:
            operation.restart([])
        other.stdin.write("go on\n")
        other.stdin.flush()
        assert other.stdout.readline() == "0\n"
    assert made.exists()


def test_what_somebody_else_is_undoing_with_a_container_is_waited_for(home: Home) -> None:
    path = home.mark("1")
    held = files.hold(path)
    files.write_all(held, b'["remove_tree", "/nowhere/c0ffee"]\n')
    journal.settle(home, "decaf")
    waiting = threading.Thread(target=journal.settle, args=(home, "c0ffee"))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    files.remove(path)
    os.close(held)
    waiting.join(10)
    assert not waiting.is_alive()


def test_what_was_let_go_between_two_looks_is_undone_before_somebody_starts_it(home: Home, tmp_path: Path) -> None:
    looked, made = tmp_path / "looked", tmp_path / "c0ffee"
    looked.touch()
    made.mkdir()
    held = files.hold(home.mark("1"))
    files.write_all(held, f'["remove_tree", "{made}"]\n'.encode())
    # looked at after the first, and not quickly done
    for number in range(1000):
        (tmp_path / "many" / str(number)).mkdir(parents=True)
    undos = [["remove_tree", f"{tmp_path}/many"], ["remove_file", str(looked)]]
    Path(home.mark("2")).write_text("".join(json.dumps(undo) + "\n" for undo in undos))

    def die_after_the_first_look() -> None:
        while looked.exists():
            time.sleep(0.0001)
        os.close(held)

    dying = threading.Thread(target=die_after_the_first_look)
    dying.start()
    journal.settle(home, "c0ffee")
    dying.join()
    assert not marks(home)
    assert not made.exists()


def test_what_nobody_can_undo_now_is_not_waited_for(home: Home) -> None:
    folder = Path(home.root, "c0ffee")
    (folder / "not empty").mkdir(parents=True)
    Path(home.mark("1")).write_text(f'["remove_file", "{folder}"]\n')
    journal.settle(home, "c0ffee")
    assert marks(home) == ["1"]


def test_who_does_not_come_to_an_end_with_undoing_is_told_of(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_PATIENCE_S", 0.05)
    held = files.hold(home.mark("1"))
    files.write_all(held, b'["remove_tree", "/nowhere/c0ffee"]\n')
    with pytest.raises(Conflict, match="another command is undoing"):
        journal.settle(home, "c0ffee")
    os.close(held)


def test_a_record_is_the_old_one_or_the_new_one(home: Home) -> None:
    path = f"{home.folder('sources')}/x.json"
    jsonrecord.write(home, path, 0)
    seen = set()
    end = time.monotonic() + 0.3

    def look() -> None:
        while time.monotonic() < end:
            seen.add(Path(path).read_text())

    reader = threading.Thread(target=look)
    reader.start()
    while time.monotonic() < end:
        jsonrecord.write(home, path, 0, durable=False)
        jsonrecord.write(home, path, "x" * 5000, durable=False)
        journal.recover(home)
    reader.join()
    assert seen <= {"0\n", f'"{"x" * 5000}"\n'}
    assert not os.listdir(home.folder("tmp"))


def test_a_record_whose_writer_died_is_swept_away(home: Home) -> None:
    half = Path(home.temporary("1.record"))
    half.write_text('{"half')
    other = Path(home.temporary("somebody's"))
    other.touch()
    held = files.lock(home.temporary("2.record"), exclusive=True)
    journal.recover(home)
    assert not half.exists()
    assert other.exists()
    assert Path(home.temporary("2.record")).exists()
    os.close(held)


def test_a_record_that_cannot_be_put_leaves_nothing(home: Home) -> None:
    with pytest.raises(FileNotFoundError):
        jsonrecord.write(home, f"{home.root}/nowhere/x.json", 0)
    assert not os.listdir(home.folder("tmp"))
