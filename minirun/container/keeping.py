"""A container is started that nobody waits for: see kept.py for what that is."""

from __future__ import annotations

import os
import sys

from minirun.container import start
from minirun.container.kept import EXIT_BYTES, Kept
from minirun.errors import MinirunError
from minirun.journal import Step
from minirun.kernel import files, jsonfile, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from minirun.container.record import Record
    from minirun.container.terminal import Terminal
    from minirun.home import Home

_KEEPER = f"{os.path.dirname(os.path.dirname(__file__))}/launch/keeper"
_FIFO_MODE = 0o666  # whatever user it runs as can open /dev/stdout; no path of the host leads here but for root


def steps(home: Home, record: Record) -> list[Step]:
    """List what a container needs that is to have a keeper, with the undo."""
    directory = home.kept(record.id)
    return [
        Step(
            f"mkdir {directory}", lambda: _make(home, record), ("forget_kept", home.root, home.runtime, record.id),
            "FIFOs and the exit status, of which its keeper takes care",
        )
    ]  # fmt: skip


def _make(home: Home, record: Record) -> None:
    directory = home.kept(record.id)
    os.makedirs(directory, 0o700, exist_ok=True)
    names = ["stdout"] if record.options["tty"] else ["stdout", "stderr"]
    if record.options["stdin"] and not record.options["tty"]:
        names.append("stdin")
    for name in names:
        _fifo(f"{directory}/{name}", _FIFO_MODE)
    _fifo(home.supervisor_wake, 0o600)
    for name in ("keeper", "by-hand"):  # of the time before
        files.remove(f"{directory}/{name}")
    # another file than the time before: who waits for that end keeps its file
    files.replace(f"{directory}/exit", bytes(EXIT_BYTES), durable=False)
    if not os.path.exists(f"{directory}/lock"):
        os.close(os.open(f"{directory}/lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _fifo(path: str, mode: int) -> None:
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        return
    os.chmod(path, mode)  # a umask does not matter


def launch(home: Home, record: Record, path: str, *, owner: int = -1) -> Kept:
    """Start a container's command, with a keeper as its parent.

    Args:
        home: the store.
        record: a container that does not run; what `start.steps` and `steps` list was done.
        path: its group.
        owner: the reading end of a pipe whose other end we keep while we take the output ourselves; -1: the
            supervisor is to take it.

    Raises:
        CommandNotFound, CommandNotExecutable: the command could not begin.
        MinirunError: a call of the plan failed.
    """
    report, told = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        os.close(report)
        _become_keeper(home, record, path, told, owner)
    os.close(told)
    with open(report, "rb", 0) as file:
        data = file.readall()
    if data[:1] == b"{":
        return Kept(**jsonfile.loads(data.decode()))
    os.waitpid(child, 0)
    if not data:
        raise MinirunError(f"start container {record.name}", "the process that was to keep it was killed")
    import pickle

    raise pickle.loads(data)


def _become_keeper(home: Home, record: Record, path: str, told: int, owner: int) -> NoReturn:
    """Make the container and become its keeper: runs in the child, and does not return."""
    try:
        os.setsid()  # what the caller's terminal sends is not for a container in the background
        input_end, redirects, held, terminal = _streams(home, record)
        begun = start.begin(
            home, record, path, stdin=record.options["stdin"], terminal=terminal, redirects=redirects
        )  # fmt: skip
        kept = Kept(
            begun.pid, process.start_ticks(begun.pid), os.getpid(), process.start_ticks(os.getpid()),
            terminal.master if terminal else -1,
        )  # fmt: skip
        text = jsonfile.dumps({name: getattr(kept, name) for name in Kept.__slots__})
        files.replace(f"{home.kept(record.id)}/keeper", text.encode(), durable=False)
        files.write_all(told, text.encode())
        ending = os.open(f"{home.kept(record.id)}/exit", os.O_WRONLY)
        _keep(home, record, kept, ending, input_end, owner, [*held, *([terminal.master] if terminal else [])])
    except BaseException as error:  # noqa: BLE001 - it is raised again in the parent
        import pickle

        files.write_all(told, pickle.dumps(error))
    finally:
        os._exit(1)


def _streams(home: Home, record: Record) -> tuple[int, list[tuple[int, int]], list[int], Terminal | None]:
    """Open what the container gets as 0, 1 and 2, and what its keeper keeps.

    Returns:
        The writing end of its input or -1; (descriptor, place) for the container; what stays open; the terminal or
        None.
    """
    directory = home.kept(record.id)

    def opened(name: str, flags: int) -> int:
        return os.open(f"{directory}/{name}", flags | os.O_CLOEXEC)

    output = opened("stdout", os.O_RDWR)
    if record.options["tty"]:
        from minirun.container.terminal import Terminal

        return -1, [], [output], Terminal.open()
    errors = opened("stderr", os.O_RDWR)
    redirects = [(output, 1), (errors, 2)]
    if not record.options["stdin"]:
        return -1, redirects, [output, errors], None
    # open for both, or the other end could not be opened before somebody writes
    writing = opened("stdin", os.O_RDWR)
    return writing, [(opened("stdin", os.O_RDONLY), 0), *redirects], [output, errors], None


def _keep(
    home: Home, record: Record, kept: Kept, ending: int, input_end: int, owner: int, held: list[int]
) -> NoReturn:  # fmt: skip
    null = os.open("/dev/null", os.O_RDWR)
    stays = {0, 1, 2, ending, input_end, owner, *held}
    for place in (0, 1, 2):
        os.dup2(null, place)
    for name in os.listdir("/proc/self/fd"):
        try:
            os.set_inheritable(int(name), int(name) in stays)
        except OSError:
            pass  # the listing's own
    os.chdir("/")
    words = [
        f"minirun-keeper {record.name}", str(kept.pid), str(ending), str(input_end), str(owner),
        home.supervisor_wake, home.supervisor_lock, *supervisor(),
    ]  # fmt: skip
    env = {"MINIRUN_ROOT": home.root, "MINIRUN_RUNTIME": home.runtime, "PATH": os.environ.get("PATH", os.defpath)}
    try:
        os.execve(_KEEPER, words, env)
    except FileNotFoundError:
        from minirun.container import keeper

        keeper.keep(words, env)


def supervisor() -> list[str]:
    """The command that becomes the supervisor, in whatever way this process found its modules."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, "-ISXutf8", f"{package}/supervise.py", os.pathsep.join(sys.path)]
