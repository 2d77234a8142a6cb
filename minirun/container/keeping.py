"""A container is started that nobody waits for: see kept.py for what that is."""

from __future__ import annotations

import os

from minirun.container import launching, supervision
from minirun.container.kept import EXIT_BYTES, Kept
from minirun.errors import MinirunError
from minirun.journal import Step
from minirun.kernel import files, jsonfile, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from minirun.container.record import Record
    from minirun.container.terminal import Terminal
    from minirun.home import Home

_KEEPER = f"{os.path.dirname(os.path.dirname(__file__))}/launch/keeper"
_FIFO_MODE = 0o666  # whatever user it runs as can open /dev/stdout; no path of the host leads here but for root


def steps(home: Home, record: Record, *, again: bool = False) -> list[Step]:
    """List what a container needs that is to have a keeper, with the undo.

    Args:
        home: the store.
        record: the container.
        again: its restart policy starts it: were that undone, it would be for the supervisor still.
    """
    directory = home.kept(record.id)
    undo = "end_keeper" if again else "forget_kept"
    return [
        Step(
            f"mkdir {directory}", lambda: _make(home, record), (undo, home.root, home.runtime, record.id),
            "FIFOs and the exit status, of which its keeper takes care",
        )
    ]  # fmt: skip


def _make(home: Home, record: Record) -> None:
    directory = home.kept(record.id)
    os.makedirs(directory, 0o700, exist_ok=True)
    _make_fifo(home.supervisor_wake, 0o600)
    for name in ("keeper", "by-hand", "health", "stdin", "stdout", "stderr"):  # of the time before
        files.remove(f"{directory}/{name}")
    # another file than the time before: who waits for that end keeps its file
    files.replace(f"{directory}/exit", bytes(EXIT_BYTES), durable=False)
    if not os.path.exists(f"{directory}/lock"):
        os.close(os.open(f"{directory}/lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _make_fifo(path: str, mode: int) -> None:
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        return
    os.chmod(path, mode)  # a umask does not matter


class Streams:
    """What a container has as 0, 1 and 2 whose starter stays with it, instead of FIFOs; with -t it has a terminal.

    Attributes:
        owner: the reading end of a pipe; its other end is the starter's, as long as he stays.
        redirects: (descriptor, place): what takes the place of the starter's own; see Spec.
        stdin: whether the command may read.
    """

    __slots__ = ("owner", "redirects", "stdin")

    def __init__(self, owner: int, redirects: Sequence[tuple[int, int]], *, stdin: bool) -> None:
        self.owner = owner
        self.redirects = redirects
        self.stdin = stdin


class _Opened:
    """What the child opened: the streams of the container, and what its keeper holds open."""

    __slots__ = ("held", "input", "redirects", "stdin", "terminal")

    def __init__(self) -> None:
        self.redirects: Sequence[tuple[int, int]] = ()
        self.stdin = False
        self.terminal: Terminal | None = None
        self.held: list[int] = []
        self.input = -1  # where others write what it reads: a FIFO, or the master of its terminal


def launch(
    home: Home,
    record: Record,
    path: str,
    streams: Streams | None = None,
    trace: list[tuple[str, float]] | None = None,
) -> Kept:
    """Start a container's command, with a keeper as its parent.

    Args:
        home: the store.
        record: a container that does not run; what `start.steps` and `steps` list was done.
        path: its group.
        streams: of whoever stays with it; without them the supervisor is to take what it prints.
        trace: takes every call and its microseconds.

    Raises:
        CommandNotFound, CommandNotExecutable: the command could not begin.
        MinirunError: a call of the plan failed.
    """
    report, told = os.pipe2(os.O_CLOEXEC)
    owner = (os.getpid(), process.start_ticks(os.getpid())) if streams else (0, 0)
    child = supervision.fork(home.runtime)
    if not child:
        os.close(report)
        _become_keeper(home, record, path, told, streams, owner, trace)
    os.close(told)
    if "ports" in record.options:
        from minirun.network import hold

        hold.let_go(record.id)  # its keeper has them
    with open(report, "rb", 0) as file:
        data = file.readall()
    if data[:1] == b"{":
        answer = jsonfile.loads(data.decode())
        if trace is not None:
            trace += [(text, microseconds) for text, microseconds in answer["trace"]]
        return Kept(**answer["kept"])
    _, status = os.waitpid(child, 0)
    supervision.tidy(home.runtime)
    if not data:
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        raise MinirunError(f"start container {record.name}", f"the process that was to keep it {how}")
    import pickle

    raise pickle.loads(data)


def _become_keeper(
    home: Home, record: Record, path: str, told: int, streams: Streams | None, owner: tuple[int, int],
    trace: list[tuple[str, float]] | None,
) -> NoReturn:  # fmt: skip
    """Make the container and become its keeper: runs in the child, and does not return."""
    try:
        os.setsid()  # what the caller's terminal sends is not for a container in the background
        opened = _open(home, record, streams)
        times: list[tuple[str, float]] | None = None if trace is None else []
        begun = launching.begin(
            home, record, path, stdin=opened.stdin, terminal=opened.terminal, redirects=opened.redirects, trace=times
        )
        kept = Kept(
            begun.pid, process.start_ticks(begun.pid), os.getpid(), process.start_ticks(os.getpid()),
            opened.terminal.master if opened.terminal else -1, process.boot_id(), *owner,
        )  # fmt: skip
        described = {name: getattr(kept, name) for name in Kept.__slots__}
        files.replace(f"{home.kept(record.id)}/keeper", jsonfile.dumps(described).encode(), durable=False)
        ending = os.open(f"{home.kept(record.id)}/exit", os.O_WRONLY)
        files.write_all(told, jsonfile.dumps({"kept": described, "trace": times or []}).encode())
        _keep(home, record, kept, ending, opened, streams.owner if streams else -1)
    except BaseException as error:  # noqa: BLE001 - it is raised again in the parent
        import pickle

        files.write_all(told, pickle.dumps(error))
    finally:
        os._exit(1)


def _open(home: Home, record: Record, streams: Streams | None) -> _Opened:
    directory = home.kept(record.id)
    opened = _Opened()
    opened.stdin = streams.stdin if streams else record.options["stdin"]
    if record.options["tty"]:
        from minirun.container.terminal import Terminal

        opened.terminal = Terminal.open(record.options)
        opened.held, opened.input = [_fifo(f"{directory}/stdout")], opened.terminal.master
    elif streams:
        opened.redirects = streams.redirects
    else:
        output, errors = _fifo(f"{directory}/stdout"), _fifo(f"{directory}/stderr")
        opened.held, opened.redirects = [output, errors], [(output, 1), (errors, 2)]
        if opened.stdin:
            opened.input = _fifo(f"{directory}/stdin")
            opened.redirects.append((os.open(f"{directory}/stdin", os.O_RDONLY | os.O_CLOEXEC), 0))
    if "ports" in record.options:
        from minirun.network import hold

        opened.held += hold.descriptors(record.id)
    return opened


def _fifo(path: str) -> int:
    """Make a FIFO and open both its ends: so nobody has to wait for the other side."""
    files.remove(path)
    _make_fifo(path, _FIFO_MODE)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _keep(home: Home, record: Record, kept: Kept, ending: int, opened: _Opened, owner: int) -> NoReturn:
    null = os.open("/dev/null", os.O_RDWR)
    stays = {0, 1, 2, ending, opened.input, owner, *opened.held}
    for place in (0, 1, 2):
        os.dup2(null, place)
    for name in os.listdir("/proc/self/fd"):
        try:
            os.set_inheritable(int(name), int(name) in stays)
        except OSError:
            pass  # the listing's own
    os.chdir("/")
    words = [
        f"minirun-keeper {record.name}", str(kept.pid), str(ending), str(opened.input), str(owner),
        home.supervisor_wake, home.supervisor_lock, *supervisor(),
    ]  # fmt: skip
    env = supervision.environment(home.root, home.runtime)
    try:
        os.execve(_KEEPER, words, env)
    except FileNotFoundError:
        from minirun.container import keeper

        keeper.keep(words, env)


def supervisor() -> list[str]:
    """The command that becomes the supervisor."""
    return supervision.command("supervise.py")
