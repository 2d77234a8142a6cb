"""`top`: the rows of the host's ps that are a container's, and no others, whatever ps is asked for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.cgroup import group
from minirun.container.state import State
from tests.command import Minirun
from tests.running import running

WEB = ("sh", "-c", "sleep 1000 & sleep 1000 & wait")


@pytest.fixture(scope="module")
def web(store: Minirun) -> Iterator[State]:
    """A container of a shell and two of its children, while another runs beside it."""
    with running(store, "other", "sleep", "1000"), running(store, "web", *WEB, count=3) as now:
        yield now


def pids(now: State) -> list[int]:
    """The host's pids of a container's processes."""
    return group.processes(now.cgroup)


def column(text: str, title: str) -> list[str]:
    """The cells below *title* of a table without blanks in the cells before it."""
    first, *rows = text.splitlines()
    place = first.split().index(title)
    return [row.split()[place] for row in rows]


def test_top_shows_what_ps_shows_of_the_containers_processes(store: Minirun, web: State) -> None:
    shown = store("top", "web", check=True).stdout
    assert shown.split("\n")[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert column(shown, "PID") == [str(pid) for pid in pids(web)]
    assert str(web.pid) in column(shown, "PID")
    assert len(pids(web)) == 3
    ends = [" ".join(WEB), "sleep 1000", "sleep 1000"]
    assert all(row.endswith(f" {end}") for row, end in zip(shown.splitlines()[1:], ends, strict=True)), shown
    assert column(store("container", "top", "web", check=True).stdout, "PID") == column(shown, "PID")


@pytest.mark.parametrize(
    "options",
    [
        ("aux",),
        ("-o", "pid,cmd"),
        ("-eo", "lstart,pid,args"),
        ("-eo", "pid,lstart", "--sort=pid"),
        ("-eo pid,comm",),
        ("-ef", "--forest"),
        ("axf",),
        ("-e", "--sort=-pid"),
        ("l",),
        ("-ejH",),
    ],
)
def test_whatever_ps_is_asked_for_the_rows_are_the_containers(
    store: Minirun, web: State, options: tuple[str, ...]
) -> None:
    shown = store("top", "web", *options, check=True).stdout
    title, *rows = shown.splitlines()
    assert "PID" in title.split()
    assert len(rows) == 3
    found = [[pid for pid in pids(web) if str(pid) in row.split()] for row in rows]
    assert all(found), shown


def test_options_that_choose_processes_choose_among_the_containers(store: Minirun, web: State) -> None:
    chosen = store("top", "web", "-C", "sleep", "-o", "pid,comm", check=True).stdout
    assert [int(pid) for pid in column(chosen, "PID")] == [pid for pid in pids(web) if pid != web.pid]
    # how wide the column is depends on the highest pid that the kernel gives
    nobody = store("top", "web", "-u", "games", "-o", "pid,comm", check=True).stdout
    assert [row.split() for row in nobody.splitlines()] == [["PID", "COMMAND"]]
    assert store("top", "web", "-e", "--sort=pid", "-o", "pid,ppid", check=True).stdout.count("\n") == 4


def test_threads_have_rows_too(store: Minirun, web: State) -> None:
    assert len(column(store("top", "web", "-eLf", check=True).stdout, "LWP")) == 3
    for options, shown in ((["m"], pids(web)), (["m", "-C", "sleep"], pids(web)[1:])):
        with_threads = store("top", "web", *options, check=True).stdout
        assert column(with_threads, "PID") == [cell for pid in shown for cell in (str(pid), "-")]


def test_a_process_cannot_hide_or_intrude_by_its_name(store: Minirun, tmp_path: Path) -> None:
    rename = "printf 'x 1' >/proc/self/comm; mkfifo /fifo; read x </fifo"
    with running(store, "hider", "sh", "-c", rename) as now:
        while Path(f"/proc/{now.pid}/comm").read_text() != "x 1\n":
            pass
        intruder = tmp_path / f"x {now.pid}"
        shutil.copy("/bin/sleep", intruder)
        with subprocess.Popen([intruder, "1000"]) as process:
            for options in (["-eo", "comm,pid", "--sort=pid"], ["-eo", "comm,pid"], ["-eo", "pid,comm", "--sort=pid"]):
                rows = store("top", "hider", *options, check=True).stdout.splitlines()[1:]
                assert len(rows) == 1, rows
                assert str(now.pid) in rows[0].split()
                assert "x 1" in rows[0]
            process.kill()


def test_processes_in_groups_that_a_container_made_are_there(store: Minirun) -> None:
    with running(store, "nested", *WEB, count=3) as now:
        every = pids(now)
        below = Path(now.cgroup, "own/deeper")
        below.mkdir(parents=True)
        (below / "cgroup.procs").write_text(str(every[-1]))
        assert str(every[-1]) not in Path(now.cgroup, "cgroup.procs").read_text().split()
        assert column(store("top", "nested", check=True).stdout, "PID") == [str(pid) for pid in every]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-eo", "comm"], "it shows no column PID"),
        (["-o", "pid="], "it shows no column PID"),
        (["-e", "--no-headers"], "it shows no column PID"),
        (["--help"], "it shows no column PID"),
        (["-eo", "ppid=PID,comm"], "it calls ppid PID"),
        (["--nonsense"], "ps does not take that: error: unknown gnu long option"),
        (["-o", "pid,nonsense"], 'ps does not take that: error: unknown user-defined format specifier "nonsense"'),
    ],
)
def test_options_by_which_no_rows_can_be_found_are_refused(
    store: Minirun, web: State, options: list[str], reason: str
) -> None:
    result = store("top", "web", *options)
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr.startswith(
        f"minirun: cannot show the processes of container web by `ps {' '.join(options)}`: "
    )
    assert reason in result.stderr


def test_the_users_environment_does_not_change_the_rows(store: Minirun, web: State) -> None:
    env = {"PS_FORMAT": "comm", "PS_PERSONALITY": "sco", "COLUMNS": "20", "LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE"}
    plain, other = (store("top", "web", "-e", env=one, check=True).stdout for one in ({}, env))
    assert column(plain, "PID") == column(other, "PID") == [str(pid) for pid in pids(web)]
    assert plain.splitlines()[0] == other.splitlines()[0]


def test_a_container_that_does_not_run_has_no_processes(store: Minirun) -> None:
    store("create", "--name", "still", "busybox", "true", check=True)
    result = store("top", "still")
    assert (result.returncode, result.stdout) == (125, "")
    assert "cannot show the processes of container still: it is not running\n" in result.stderr
    store("rm", "still", check=True)
    result = store("top", "nothing")
    assert (result.returncode, result.stdout) == (125, "")
    assert "no such container" in result.stderr


def test_a_host_without_ps_is_told_what_to_install(store: Minirun, web: State, tmp_path: Path) -> None:
    result = store("top", "web", env={"PATH": str(tmp_path)})
    assert (result.returncode, result.stdout) == (125, "")
    assert "this host has no ps\n  install it: `apt install procps`\n" in result.stderr


def test_another_ps_that_knows_less_will_do(store: Minirun, web: State, tmp_path: Path) -> None:
    (tmp_path / "ps").symlink_to("/bin/busybox")
    shown = store("top", "web", "-o", "pid,args", env={"PATH": str(tmp_path)}, check=True).stdout
    assert column(shown, "PID") == [str(pid) for pid in pids(web)]
    assert "ps does not take that: " in store("top", "web", "--all", env={"PATH": str(tmp_path)}).stderr


def test_a_shell_completes_the_container(store: Minirun, web: State) -> None:
    for command in ("top", "stats"):
        env = {"_MINIRUN_COMPLETE": "bash_complete", "COMP_WORDS": f"minirun {command} w", "COMP_CWORD": "2"}
        assert store(env=env, check=True).stdout == "plain,web\n"
