"""What a container is told at a system call: by the filter that it has, and by the kernel, which asks for capabilities.

its filter, run for this call ─▶ denied: EPERM     comment of the rule                  --cap-add, or seccomp=FILE
           └▶ allowed ─▶ the kernel: CAP_SYS_ADMIN ─▶ denied: EPERM, or allowed         --cap-add
"""

from __future__ import annotations

import os
from typing import Any

from minirun import caller
from minirun.engine.explaining import ALLOWED, WITHOUT, Part
from minirun.security import callneeds, callquestion, capabilities, meanings, seccomp, seccompreasons
from minirun.security import user as users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home
    from minirun.security.callquestion import Question

_UNCONFINED = "without --security-opt seccomp=unconfined"
_DEPENDS = "depends on its arguments"
_DENIED = "denied: EPERM"


def explain(home: Home, box: Record, now: State, about: str, user: str | None) -> list[Part]:
    """Tell what becomes of a call: the answer, then its filter, then its capability, then its user."""
    question = callquestion.read(about)
    options, keep = box.options, capabilities.kept(box.options)
    by_filter = _by_filter(home, box, now, question, keep)
    root = _is_root(home, box, user)
    capability = _capability(question, keep, options, root=root)
    states = {part.state for part in by_filter}
    if states == {ALLOWED} and capability is not None and capability.state == "missing":
        answer = Part("call", about, _DENIED, "by the kernel, which asks for a capability", capability.change)
    elif len(states) > 1:
        answer = Part("call", about, _DEPENDS, "by its filter: write them behind it, as in 'socket(AF_INET)'")
    elif ALLOWED in states:
        answer = Part("call", about, ALLOWED, _unless(capability))
    else:
        answer = Part("call", about, by_filter[0].state, "by its filter, before the kernel looks", by_filter[0].change)
    parts = [answer, *by_filter, *([capability] if capability else [])]
    if not root:
        text = options["user"] if user is None else user
        parts.append(Part("user", text, "not root", "root alone has the container's capabilities", "-u 0"))
    return parts


def _by_filter(home: Home, box: Record, now: State, question: Question, keep: int) -> list[Part]:
    """What its filter may answer: that which it was started with while it runs, or what a start would give it."""
    options = box.options
    key = now.seccomp if now.alive else ""
    found = seccomp.find_started(home, options, keep, key)
    if found is None:
        change = WITHOUT if options.get("privileged") else _UNCONFINED
        return [Part("filter", "none", ALLOWED, "no filter looks at its calls", change)]
    from minirun.security import seccompcompile, seccompprofile

    name, text = seccomp.given(options)
    names = [capabilities.name(number) for number in range(capabilities.LAST + 1) if keep >> number & 1]
    document = seccompprofile.parse(text, name)
    if key and key != seccomp.key(options, keep):
        name = f"{name}, as it was at its start"
    reasons = seccompreasons.find(question, found, document, names, seccompcompile.kernel())
    return [Part("filter", name, one.state, one.comment, _lifting(one)) for one in reasons]


def _lifting(reason: seccompreasons.Reason) -> str:
    if reason.state == ALLOWED:
        return ""
    # the last of them is the narrowest
    return f"--cap-add {reason.lifted[-1]}" if reason.lifted else "--security-opt seccomp=FILE"


def _capability(question: Question, keep: int, options: Mapping[str, Any], *, root: bool) -> Part | None:
    needed = callneeds.of(question)
    if needed is None:
        return None
    names, when = needed
    if ("userns" in options or caller.ROOTLESS) and all(callneeds.is_of_host(question, name) for name in names):
        meaning = "on the host, and it has a user namespace of its own"
        state = "missing then" if when else "missing"
        change = f"without --userns {options['userns']['mode']}" if "userns" in options else "sudo minirun"
        return Part("capability", " or ".join(names), state, f"{when}, {meaning}" if when else meaning, change)
    had = [name for name in names if root and keep >> capabilities.NAMES.index(name) & 1]
    name = (had or names)[0]
    meaning = when or meanings.CAPABILITIES[name]
    if had:
        return Part("capability", name, "had", meaning, f"--cap-drop {name}")
    state = "missing" if not when else "missing then"
    is_kept = any(keep >> capabilities.NAMES.index(one) & 1 for one in names)
    changes = [*([] if is_kept else [f"--cap-add {name}"]), *([] if root else ["-u 0"])]
    return Part("capability", " or ".join(names), state, meaning, ", ".join(changes))


def _unless(capability: Part | None) -> str:
    if capability is None:
        return "neither by its filter nor for a capability is it denied"
    if capability.state == "had":
        return f"its filter lets it through, and it has {capability.name}, {_for(capability)}"
    return f"its filter lets it through; but {capability.meaning} the kernel asks for {capability.name}"


def _for(capability: Part) -> str:
    meaning = capability.meaning
    return meaning if meaning != meanings.CAPABILITIES[capability.name] else "which the kernel asks for"


def _is_root(home: Home, box: Record, user: str | None) -> bool:
    """Whether it is root who makes the call."""
    options: Mapping[str, Any] = box.options
    stack = [home.diff(name) for name in box.stack]
    if os.path.isdir(upper := f"{home.container(box.id)}/upper"):
        stack.append(upper)
    return users.find(options["user"] if user is None else user, stack).uid == 0
