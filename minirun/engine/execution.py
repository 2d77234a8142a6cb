"""exec: a command runs in a container beside what runs there already.

record ─▶ state ─▶ first process ─▶ user, environment, streams ─▶ launch/enter.py ─▶ wait, or leave it there
"""

from __future__ import annotations

import os

from minirun import events
from minirun.container import environment, state
from minirun.container import record as records
from minirun.container.firstprocess import FirstProcess, not_running
from minirun.container.joining import Joined
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, Conflict
from minirun.launch import ending
from minirun.launch.enter import Entry
from minirun.security import capabilities, labels, seccomp, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.container.detachkeys import DetachKeys
    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home


def execute(flags: Mapping[str, Any], name: str, command: Sequence[str]) -> int:
    """Run *command* in the container *name*, as `docker exec` does.

    Args:
        flags: by long name, as cli/flags.py has them.
        name: the container's name, id or the beginning of its id.
        command: the command and its arguments.

    Returns:
        The command's exit code; 0 for one that goes on without us.

    Raises:
        NotFound, Conflict: there is no such container, or it does not run.
        CommandNotFound, CommandNotExecutable: the command could not begin.
    """
    if not ending.stub():
        from minirun.launch import unwritable

        unwritable.ensure()
    keys = _keys(flags)
    added = environment.read(flags.get("env") or (), flags.get("env-file") or ())
    _working_directory(flags.get("workdir"))
    home = open_home()
    box = records.find(home, name)
    attempt = f"execute a command in container {box.name}"
    now = state.read(home, box)
    if now.status == "paused":
        raise Conflict(attempt, "it is paused", f"`minirun unpause {box.name}` lets it go on")
    if now.status == "restarting":
        raise Conflict(attempt, "it is restarting", "wait until it runs: `minirun ps` shows that")
    if not now.alive:
        raise not_running(box)
    told = {"execID": os.urandom(32).hex()}
    words, detach = " ".join(command), bool(flags.get("detach"))
    with Attempt(attempt):
        first = FirstProcess.open(box, now)
        joining = entry(home, box, now, first, flags, command, added)
        events.emit(home, "container", f"exec_create: {words}", box.id, box.told(**told))
        joined = Joined(first, joining, stdin=bool(flags.get("interactive")), tty=bool(flags.get("tty")), detach=detach)
        joined.begin(box, now.cgroup, first.group)
        events.emit(home, "container", f"exec_start: {words}", box.id, box.told(**told))
        code = 0 if detach else joined.wait(keys)
        if detach or (keys and keys.found):
            joined.abandon()
        else:
            events.emit(home, "container", "exec_die", box.id, box.told(exitCode=str(code), **told))
    return code


def entry(
    home: Home,
    box: Record,
    now: State,
    first: FirstProcess,
    flags: Mapping[str, Any],
    command: Sequence[str],
    added: Sequence[str],
) -> Entry:
    """Resolve everything about a command that is to run in a container; its streams are not made yet.

    Args:
        home: the store.
        box: the container.
        now: what is true of it.
        first: its first process.
        flags: by long name: user, workdir, tty, privileged.
        command: the command and its arguments.
        added: environment variables beside the container's.

    Raises:
        BadInput: the container has no such user.
    """
    options = box.options
    who = user.look_up(
        options["user"] if flags.get("user") is None else flags["user"], first.read, options.get("group_add", ())
    )
    tty = bool(flags.get("tty"))
    env = environment.merge(options["env"], added)
    keep = capabilities.kept(options)
    owner = who.uid
    if "userns" in options:
        from minirun.container import userns

        userns.check_user(options, who.uid, (who.gid, *who.groups))
        owner = userns.host_user(options, who.uid)
    return Entry(
        pidfd=first.pidfd,
        terminal=None,
        redirects=(),
        cwd=_working_directory(flags.get("workdir")) or options["cwd"],
        user=who,
        capabilities=capabilities.own() if flags.get("privileged") else keep,
        argv=command,
        env=environment.complete(env, hostname=options["hostname"], home=who.home, terminal=tty),
        rlimits=[(resource, soft, hard) for _, resource, soft, hard in options["ulimits"]],
        oom_score_adj=options["oom_score_adj"],
        labels=labels.of(options),
        # that of its first process, though the default is another since, or the command keeps more capabilities: so it
        # is in Docker, too
        seccomp=seccomp.find_started(home, options, keep, now.seccomp),
        no_new_privileges=seccomp.forbids_new_privileges(options),
        stub=ending.stub(),
        status=-1,
        mapped="userns" in options,
        owner=owner,
    )


def _keys(flags: Mapping[str, Any]) -> DetachKeys | None:
    """Check the flags that the container does not matter for, and read --detach-keys."""
    if flags.get("tty") and flags.get("interactive") and not flags.get("detach") and not os.isatty(0):
        raise BadInput("use -it", "the input device is not a TTY", "leave -t out, or run it from a terminal")
    if not flags.get("tty") and "detach-keys" not in flags:
        return None
    from minirun.container import detachkeys

    return detachkeys.DetachKeys(flags.get("detach-keys") or "")


def _working_directory(path: str | None) -> str:
    if path is None:
        return ""
    if not path.startswith("/") or "\0" in path:
        raise BadInput(f"read -w {path!r}", "it is not an absolute path")
    return path
