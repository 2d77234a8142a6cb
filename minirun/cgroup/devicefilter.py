"""Which devices the processes of a group may open and make: a program in eBPF that the kernel asks each time.

    rule   c 10:229 rw     of character device 10:229, reading and writing
           b *:* m         nodes of any block device may be made

The program takes from what a process asks for what each rule about that device allows, and lets it pass if nothing is
left. It is attached to the group, holds for the groups below it, too, and goes with it. See bpf(2),
cgroup-v2.rst ("Device controller") and linux/bpf.h, struct bpf_cgroup_dev_ctx.
"""

from __future__ import annotations

import ctypes
import os
import platform
from struct import pack, unpack

from minirun.errors import BadInput, MinirunError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Rule = tuple[str, int | None, int | None, str]

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_CGROUP_DEVICE_PROGRAM, _CGROUP_DEVICE = 15, 6
_ALLOW_MULTI = 1 << 1
_ACCESS = {"m": 1, "r": 2, "w": 4}
_TYPES = {"b": 1, "c": 2}
_LAST = (1 << 32) - 1
_LAST_NUMBERS = ((1 << 12) - 1, (1 << 20) - 1)  # major and minor: linux/kdev_t.h
# what programs expect, as in Docker's containers: the six of /dev, terminals, and nodes of any kind may be made
DEFAULT: tuple[Rule, ...] = (
    ("c", 1, 3, "rwm"), ("c", 1, 5, "rwm"), ("c", 1, 7, "rwm"), ("c", 1, 8, "rwm"), ("c", 1, 9, "rwm"),
    ("c", 5, 0, "rwm"), ("c", 5, 1, "rwm"), ("c", 5, 2, "rwm"), ("c", 136, None, "rwm"),
    ("c", None, None, "m"), ("b", None, None, "m"),
)  # fmt: skip


def parse(text: str) -> Rule:
    """Read a rule as Docker's --device-cgroup-rule has it: type, major and minor number or ``*``, access.

    Returns:
        (type: ``a``, ``b`` or ``c``; major and minor, None for any; access: some of ``rwm``).

    Raises:
        BadInput: it is none.
    """
    words = text.split(" ")
    attempt = f"use --device-cgroup-rule {text!r}"
    numbers = words[1].split(":") if len(words) == 3 else []
    if len(numbers) != 2 or words[0] not in ("a", "b", "c"):
        raise BadInput(attempt, "it is no rule", "it is a type, numbers and access: 'c 10:229 rw', 'b *:* m'")
    for number, last in zip(numbers, _LAST_NUMBERS, strict=True):
        if number != "*" and not (number.isascii() and number.isdigit() and len(number) < 8 and int(number) <= last):
            raise BadInput(attempt, f"{number!r} is no number of a device", "'c 10:229 rw', 'b 8:* r'")
    major, minor = (None if number == "*" else int(number) for number in numbers)
    return words[0], major, minor, access(attempt, words[2])


def access(attempt: str, text: str) -> str:
    """Read what is allowed: some of ``r``, ``w`` and ``m``, each once.

    Raises:
        BadInput: it is something else; *attempt* is what was tried.
    """
    if not text or len(set(text)) != len(text) or not set(text) <= set(_ACCESS):
        raise BadInput(attempt, f"{text!r} is no access", "it is some of r (read), w (write) and m (make a node): rwm")
    return text


def attach(path: str, rules: Iterable[Rule]) -> None:
    """Let the processes of a group have what *rules* allow, and no other device.

    Args:
        path: of the group.
        rules: those of DEFAULT are not among them by themselves.

    Raises:
        Unsupported: the kernel has no such programs.
        MinirunError: it refuses.
    """
    attempt = f"limit the devices of {path}"
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise Unsupported(attempt, f"the number of bpf(2) is not known for {platform.machine()}")
    code = b"".join(_program(rules))
    program = _load(attempt, number, code)
    try:
        group = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _bpf(attempt, number, _PROG_ATTACH, pack("<4I", group, program, _CGROUP_DEVICE, _ALLOW_MULTI))
        finally:
            os.close(group)
    finally:
        os.close(program)


def _load(attempt: str, number: int, code: bytes) -> int:
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    attributes = pack(
        "<IIQQIIQ", _CGROUP_DEVICE_PROGRAM, len(code) // 8, ctypes.addressof(instructions),
        ctypes.addressof(licence), 0, 0, 0,
    )  # fmt: skip
    return _bpf(attempt, number, _PROG_LOAD, attributes)


def _bpf(attempt: str, number: int, command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(number, command, buffer, len(attributes))
    if result < 0:
        error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        raise MinirunError(
            attempt, error, "it takes CAP_BPF or CAP_SYS_ADMIN, and a kernel with CONFIG_CGROUP_BPF"
        ) from None
    return result


# registers: 1 the context, then scratch; 2 what is asked for and not yet allowed; 3 type; 4 major; 5 minor
def _program(rules: Iterable[Rule]) -> Iterator[bytes]:
    yield _instruction(0x61, 3, 1)  # w3 = access << 16 | type
    yield _instruction(0x61, 4, 1, 4)
    yield _instruction(0x61, 5, 1, 8)
    yield _instruction(0xBC, 2, 3)  # w2 = w3
    yield _instruction(0x74, 2, number=16)  # w2 >>= 16
    yield _instruction(0x54, 3, number=0xFFFF)  # w3 &= 0xffff
    for kind, major, minor, allowed in rules:
        taken = sum(_ACCESS[letter] for letter in allowed)
        tests = [(3, _TYPES.get(kind)), (4, major), (5, minor)]
        asked = [(register, value) for register, value in tests if value is not None]
        for place, (register, value) in enumerate(asked):
            yield _instruction(0x56, register, offset=len(asked) - place, number=value)  # if not equal, past this rule
        yield _instruction(0x54, 2, number=~taken & _LAST)
    yield _instruction(0xB4, 0, number=1)
    yield _instruction(0x16, 2, offset=1)  # nothing is left
    yield _instruction(0xB4, 0)
    yield _instruction(0x95)


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, number: int = 0) -> bytes:
    (signed,) = unpack("<i", pack("<I", number))
    return pack("<BBhi", code, source << 4 | target, offset, signed)
