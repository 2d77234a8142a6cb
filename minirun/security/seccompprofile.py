"""A seccomp profile, in Docker's and podman's JSON or the OCI's, becomes rules for one container on one host.

    {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
     "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": [...]}],     or  "architectures": [...]
     "flags": ["SECCOMP_FILTER_FLAG_LOG"],
     "syscalls": [{"names": [...], "action": "SCMP_ACT_ALLOW", "errnoRet": 1,
                   "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
                   "includes": {"caps": [...], "arches": ["amd64"], "minKernel": "4.8"},    all of these
                   "excludes": {…}}]}                                                       none of these

It means what it means to Docker, whose reader knows keys in any case and passes over keys that it does not know. From
podman are "errno" and "defaultErrno", numbers or names, which win over the numbers beside them.

See the OCI runtime specification, config-linux.md, "Seccomp".
"""

from __future__ import annotations

from errno import errorcode

from minirun.errors import Unsupported
from minirun.kernel import jsonfile
from minirun.security.seccompfields import Fields, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from minirun.security.seccomplibrary import Condition

MOST_BYTES = 1 << 20
# linux/seccomp.h: SECCOMP_RET_*, to two of which a number of 16 bits is added
ACTIONS = {
    "SCMP_ACT_KILL": 0, "SCMP_ACT_KILL_THREAD": 0, "SCMP_ACT_KILL_PROCESS": 0x80000000, "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_TRACE": 0x7FF00000, "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}  # fmt: skip
# libseccomp's seccomp.h, enum scmp_compare
OPERATORS = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5, "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}  # fmt: skip
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_NOTIFY = "SCMP_ACT_NOTIFY"
_EPERM = 1
# linux/seccomp.h; a filter that names no flags has the last one, as in runc
FLAGS = {"SECCOMP_FILTER_FLAG_TSYNC": 1, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4}
_DEFAULT_FLAGS = FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
_NATIVE = "SCMP_ARCH_X86_64"
_ARCH = "amd64"  # the same in includes and excludes
# as the OCI names them; what libseccomp calls them is the same in small letters, without the prefix
ARCHITECTURES = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        "X86", "X86_64", "X32", "ARM", "AARCH64", "LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL",
        "MIPSEL64", "MIPSEL64N32", "PARISC", "PARISC64", "PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "SH",
        "SHEB",
    )
)  # fmt: skip
_ARGUMENTS = 6
_NUMBERS = {name: number for number, name in errorcode.items()}


class Rule:
    """What is answered to some system calls.

    Attributes:
        names: of the calls.
        action: a SECCOMP_RET_* number.
        conditions: on their arguments, all of which must hold; two of one argument are two rules.
        place: where in the profile that is said.
    """

    __slots__ = ("action", "conditions", "names", "place")

    def __init__(self, names: Sequence[str], action: int, conditions: Sequence[Condition], place: str) -> None:
        self.names = names
        self.action = action
        self.conditions = conditions
        self.place = place


class Profile:
    """What a profile comes down to for one container.

    Attributes:
        default: a SECCOMP_RET_* number, answered where there is no rule.
        architectures: libseccomp's names, beside the host's own.
        flags: of seccomp(2).
        rules: in their order.
    """

    __slots__ = ("architectures", "default", "flags", "rules")

    def __init__(self, default: int, architectures: Sequence[str], flags: int, rules: Sequence[Rule]) -> None:
        self.default = default
        self.architectures = architectures
        self.flags = flags
        self.rules = rules


def parse(text: str, name: str) -> Any:
    """Read a profile's JSON, of which nothing but its syntax is checked.

    Args:
        text: of the file.
        name: what to call it in a refusal.

    Raises:
        BadInput: it is no JSON.
    """
    try:
        return jsonfile.loads(text)
    except (ValueError, RecursionError) as error:
        refuse(name, "", f"it is not JSON: {error}")


def reduce(document: Any, name: str, capabilities: Sequence[str], kernel: Sequence[int]) -> Profile | None:
    """Decide what of a profile is meant for a container.

    Args:
        document: from `parse`.
        name: what to call it in a refusal.
        capabilities: those of its bounding set, ``CAP_CHOWN``.
        kernel: the numbers of the running one, as far as its version has them: (6, 12, 3).

    Returns:
        None for a profile that asks for nothing: Docker takes ``{}`` for no filter.

    Raises:
        BadInput: it has no meaning, and where.
        Unsupported: it asks another program, by SCMP_ACT_NOTIFY.
    """
    reader = _Reader(name, frozenset(capabilities), kernel)
    return reader.profile(Fields(name, "", document))


class _Reader:
    def __init__(self, name: str, capabilities: frozenset[str], kernel: Sequence[int]) -> None:
        self._name = name
        self._capabilities = capabilities
        self._kernel = kernel

    def profile(self, top: Fields) -> Profile | None:
        errno = self._errno(top, "defaultErrno", "defaultErrnoRet")
        rules = [rule for one in top.objects("syscalls") for rule in self._rules(one)]
        if top.text("listenerPath"):
            raise Unsupported(
                f"use the seccomp profile {self._name}", "listenerPath: another program is to decide on calls",
                "that is not built; leave it out, with the rules whose action is SCMP_ACT_NOTIFY",
            )  # fmt: skip
        architectures, flags = self._architectures(top), self._flags(top)
        if not top.text("defaultAction") and top.count("syscalls") < 1:
            return None
        return Profile(self._action(top, "defaultAction", errno), architectures, flags, rules)

    def _architectures(self, top: Fields) -> list[str]:
        given = top.texts("architectures")
        mapped: list[str] = []
        for one in top.objects("archMap"):
            below = one.texts("subArchitectures")
            for place, name in [("architecture", one.text("architecture")), *(("subArchitectures", n) for n in below)]:
                if name not in ARCHITECTURES:
                    one.refuse(place, f"{name!r} is no architecture")
            if one.text("architecture") == _NATIVE and not mapped:
                mapped = [_NATIVE, *below]
        if given and top.count("archMap") > 0:
            top.refuse("architectures", "there is an archMap, too: give one of them")
        for index, name in enumerate(given):
            if name not in ARCHITECTURES:
                top.refuse(f"architectures[{index}]", f"{name!r} is no architecture")
        return [name.removeprefix("SCMP_ARCH_").lower() for name in given or mapped]

    def _flags(self, top: Fields) -> int:
        flags = 0
        for index, flag in enumerate(top.texts("flags")):
            if flag not in FLAGS:
                top.refuse(f"flags[{index}]", f"{flag!r} is none of {', '.join(FLAGS)}")
            flags |= FLAGS[flag]
        return _DEFAULT_FLAGS if top.count("flags") < 0 else flags

    def _rules(self, one: Fields) -> Iterator[Rule]:
        name, names = one.text("name"), one.texts("names")
        if name and names:
            one.refuse("name", "there are names, too: give one of them")
        names = [name] if name else names
        if not all(names):
            one.refuse("names", "a system call has a name")
        action = self._action(one, "action", self._errno(one, "errno", "errnoRet"), applies=self._applies(one))
        conditions = [self._condition(argument) for argument in one.objects("args")]
        if action < 0:
            return
        indices = [index for index, *_ in conditions]
        if len(set(indices)) == len(indices):
            yield Rule(names, action, conditions, one.at("names"))
            return
        # as runc reads what it could not before: any of them will do
        for condition in conditions:
            yield Rule(names, action, [condition], one.at("args"))

    def _condition(self, argument: Fields) -> Condition:
        operator = argument.text("op")
        if operator not in OPERATORS:
            argument.refuse("op", f"{operator!r} is none of {', '.join(OPERATORS)}")
        most = (1 << 64) - 1
        index = argument.number("index", _ARGUMENTS - 1) or 0
        return index, OPERATORS[operator], argument.number("value", most) or 0, argument.number("valueTwo", most) or 0

    def _action(self, one: Fields, key: str, errno: int | None, *, applies: bool = True) -> int:
        """What an action is to the kernel; -1 for one of a rule that does not apply."""
        action = one.text(key)
        if action not in ACTIONS and action != _NOTIFY:
            one.refuse(key, f"{action!r} is none of {', '.join(ACTIONS)}")
        if not applies:
            return -1
        if action == _NOTIFY:
            raise Unsupported(
                f"use the seccomp profile {self._name}", f"{one.at(key)}: SCMP_ACT_NOTIFY has another program decide",
                "that is not built; take another action for these calls",
            )  # fmt: skip
        if action not in _WITH_ERRNO:
            return ACTIONS[action]
        return ACTIONS[action] | (_EPERM if errno is None else errno)

    def _errno(self, one: Fields, word: str, number: str) -> int | None:
        value = one.number(number, 0xFFFF)
        text = one.text(word)
        if not text:
            return value
        if text.isascii() and text.isdigit() and int(text) <= 0xFFFF:
            return int(text)
        if text not in _NUMBERS:
            one.refuse(word, f"{text!r} is no error")
        return _NUMBERS[text]

    def _applies(self, one: Fields) -> bool:
        without, within = one.object("excludes"), one.object("includes")
        excluded = (
            _ARCH in without.texts("arches")
            or not self._capabilities.isdisjoint(without.texts("caps"))
            or self._is_at_least(without, unsaid=False)
        )
        included = (
            _ARCH in (within.texts("arches") or [_ARCH])
            and self._capabilities.issuperset(within.texts("caps"))
            and self._is_at_least(within, unsaid=True)
        )
        return included and not excluded

    def _is_at_least(self, one: Fields, *, unsaid: bool) -> bool:
        text = one.text("minKernel")
        if not text:
            return unsaid
        parts = text.split(".")
        if len(parts) not in (2, 3) or not all(part.isascii() and part.isdigit() for part in parts):
            one.refuse("minKernel", f"{text!r} is no version, as 4.8 is")
        return [*self._kernel[: len(parts)]] >= [int(part) for part in parts]
