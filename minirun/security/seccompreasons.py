"""Which rules of a profile decide on a system call, and what their authors say why.

    filter ── all that it may answer ──┐
                                       ├─▶ Reason: denied: EPERM, "code for the kernel", lifted by SYS_MODULE
    profile ── rules that may hold ────┘

The filter is what the kernel runs, and has the last word; a rule that says something else is none of its reasons.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from errno import ENOSYS, errorcode
from typing import Any

from minirun.security import seccompprofile, seccomprun, seccomptree
from minirun.security.seccompprofile import OPERATORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.security.callquestion import Question
    from minirun.security.seccomp import Filter
    from minirun.security.seccomplibrary import Condition

ALLOWED = "allowed"
_ACTION, _DATA = 0xFFFF0000, 0xFFFF
_ERRNO, _TRAP, _ALLOW, _LOG, _TRACE = 0x00050000, 0x00030000, 0x7FFF0000, 0x7FFC0000, 0x7FF00000
_STATES = {
    _ALLOW: ALLOWED, _LOG: f"{ALLOWED}, and logged", _TRAP: "denied: SIGSYS", 0: "kills the thread: SIGSYS",
    0x80000000: "kills the process: SIGSYS", _TRACE: "denied: ENOSYS, unless a tracer has it otherwise",
}  # fmt: skip
_COMPARISONS = {
    OPERATORS[f"SCMP_CMP_{compare.__name__.upper()}"]: compare
    for compare in (operator.ne, operator.lt, operator.le, operator.eq, operator.ge, operator.gt)
}
_PLACE = re.compile(r"syscalls\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a filter answers as it does.

    Attributes:
        state: ``allowed``, ``denied: EPERM`` …
        comment: of the rule's author; empty where there is none.
        lifted: capabilities, any of which lifts a rule that denies.
    """

    state: str
    comment: str
    lifted: tuple[str, ...] = ()


def state(answer: int) -> str:
    """What a SECCOMP_RET_* number is to who makes the call."""
    if answer & _ACTION == _ERRNO:
        return f"denied: {errorcode.get(answer & _DATA, str(answer & _DATA))}"
    return _STATES.get(answer & _ACTION, f"denied: {answer:#x}")


def find(
    question: Question, filter_: Filter, document: Any, names: Sequence[str], kernel: Sequence[int]
) -> list[Reason]:
    """What the filter may answer, each with its rule.

    Args:
        question: the call.
        filter_: of the container.
        document: the profile, of which that was compiled.
        names: the capabilities of the container, ``CAP_CHOWN``.
        kernel: the numbers of the running one's version.
    """
    program = seccomptree.decode(filter_.program)
    left = seccomprun.answers(program, question.arch, question.number, question.arguments)
    profile = seccompprofile.reduce(document, "it", names, kernel)
    groups = [group for key, value in document.items() if key.lower() == "syscalls" for group in value]
    found: list[Reason] = []
    told: set[int] = set()
    for rule in profile.rules if profile else ():
        if question.name not in rule.names or rule.action not in left or not _may_hold(question, rule.conditions):
            continue
        told.add(rule.action)
        place = _PLACE.match(rule.place)
        reason = _reason(rule.action, groups[int(place[1])] if place else {})
        if reason not in found:
            found.append(reason)
    for answer in sorted(left - told):
        found.append(Reason(state(answer), _without_rule(answer, profile.default if profile else _ALLOW)))
    return found


def _reason(action: int, group: dict[str, Any]) -> Reason:
    own = {key.lower(): value for key, value in group.items()}
    without = {key.lower(): value for key, value in (own.get("excludes") or {}).items()}
    lifted = tuple(name.removeprefix("CAP_") for name in without.get("caps") or ())
    return Reason(state(action), own.get("comment") or "", lifted if action & _ACTION == _ERRNO else ())


def _without_rule(answer: int, default: int) -> str:
    if answer == _ERRNO | ENOSYS != default:
        return "it is newer than the profile: a library that is told so tries an older call"
    return "no rule names it with such arguments: so the profile answers then" if answer == default else ""


def _may_hold(question: Question, conditions: Sequence[Condition]) -> bool:
    """Whether all conditions of a rule hold, as far as the arguments are known."""
    return all(
        (value := question.argument(index)) is None or _holds(value, comparison, given, second)
        for index, comparison, given, second in conditions
    )


def _holds(value: int, comparison: int, given: int, second: int) -> bool:
    if comparison == OPERATORS["SCMP_CMP_MASKED_EQ"]:
        return value & given == second
    return bool(_COMPARISONS[comparison](value, given))
