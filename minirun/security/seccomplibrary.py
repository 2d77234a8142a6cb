"""libseccomp, by ctypes: rules by the names of system calls become a program that the kernel runs at each call.

    Filter(default) ─ add_architecture ─ add_rule … ─▶ export ─▶ instructions (code, jt, jf, k)

What a rule means, and which system calls have which names and numbers, is the library's to know: so a profile means
here what it means to runc, which has it compiled by the same. See seccomp_init(3), seccomp_rule_add(3).
"""

from __future__ import annotations

import ctypes
import os

from minirun.errors import Unsupported
from minirun.security import seccomptree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from minirun.security.seccomprun import Instruction

    Condition = tuple[int, int, int, int]

LIBRARY = "libseccomp.so.2"
UNKNOWN = -1  # the number of a system call that the library does not know
_OPTIMIZE, _BINARY_TREE = 8, 2  # enum scmp_filter_attr: SCMP_FLTATR_CTL_OPTIMIZE
_EEXIST = -17
_FILTER_BYTES = 1 << 20


class _Condition(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def _open() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise Unsupported(
            "compile a seccomp profile", f"this host has no {LIBRARY}",
            "`apt-get install libseccomp2`; `--security-opt seccomp=unconfined` goes without a filter",
        ) from None  # fmt: skip
    context, number, rules = ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(_Condition)
    library.seccomp_init.restype = context
    library.seccomp_init.argtypes = [number]
    library.seccomp_release.argtypes = [context]
    library.seccomp_attr_set.argtypes = [context, ctypes.c_int, number]
    library.seccomp_arch_add.argtypes = [context, number]
    library.seccomp_arch_resolve_name.restype = number
    library.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_arch_native.restype = number
    library.seccomp_syscall_resolve_name_arch.argtypes = [number, ctypes.c_char_p]
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    library.seccomp_syscall_resolve_num_arch.argtypes = [number, ctypes.c_int]
    library.seccomp_rule_add_array.argtypes = [context, number, ctypes.c_int, ctypes.c_uint, rules]
    library.seccomp_export_bpf.argtypes = [context, ctypes.c_int]
    return library


class Library:
    """libseccomp of this host.

    Raises:
        Unsupported: there is none.
    """

    def __init__(self) -> None:
        self._library = _open()
        self.native: int = self._library.seccomp_arch_native()

    def architecture(self, name: str) -> int:
        """The number of an architecture, ``x86_64``; 0 for one that the library does not know."""
        return int(self._library.seccomp_arch_resolve_name(name.encode()))

    def number(self, name: str, architecture: int) -> int:
        """The number of a system call there: UNKNOWN, or below that, one that is of other architectures only."""
        return int(self._library.seccomp_syscall_resolve_name_arch(architecture, name.encode()))

    def name(self, number: int, architecture: int) -> str:
        """The name of a system call there; empty for one that the library does not know."""
        found = self._library.seccomp_syscall_resolve_num_arch(architecture, number)
        if not found:
            return ""
        text = ctypes.string_at(found).decode()
        # the library gives it away, to be freed
        ctypes.CDLL(None).free(ctypes.c_void_p(found))
        return text

    def filter(self, default: int) -> Filter:
        """Begin a filter that answers *default*, a SECCOMP_RET_* number, where no rule is for a call."""
        return Filter(self._library, default)


class Filter:
    """Rules on their way to a program; a context manager, whose end frees them.

    Raises:
        OSError: of any method: the library refused, and why.
    """

    def __init__(self, library: ctypes.CDLL, default: int) -> None:
        self._library = library
        self._context = library.seccomp_init(default)
        if not self._context:
            raise OSError(22, "the library knows no such action")

    def __enter__(self) -> Filter:
        """Begin."""
        return self

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        """Free what the library holds."""
        self._library.seccomp_release(self._context)

    def search_by_halves(self) -> None:
        """Have the program look for the number of a call in a tree; libseccomp before 2.5 makes a list anyway."""
        self._library.seccomp_attr_set(self._context, _OPTIMIZE, _BINARY_TREE)

    def add_architecture(self, architecture: int) -> None:
        """Have the rules for *architecture*, too."""
        result = self._library.seccomp_arch_add(self._context, architecture)
        if result != _EEXIST:
            _check(result)

    def add_rule(self, action: int, number: int, conditions: Sequence[Condition]) -> None:
        """Answer *action* to the system call *number* if all *conditions* hold.

        Args:
            action: a SECCOMP_RET_* number; not that of the filter's default.
            number: of a system call of this host's architecture.
            conditions: (argument, number of an operator, value, second value): no two of one argument.
        """
        array = (_Condition * max(1, len(conditions)))(*(_Condition(*one) for one in conditions))
        _check(self._library.seccomp_rule_add_array(self._context, action, number, len(conditions), array))

    def export(self) -> list[Instruction]:
        """The program: (code, jt, jf, k) of each instruction. See bpf(4) of BSD, linux/filter.h."""
        descriptor = os.memfd_create("seccomp")
        try:
            _check(self._library.seccomp_export_bpf(self._context, descriptor))
            return seccomptree.decode(os.pread(descriptor, _FILTER_BYTES, 0))
        finally:
            os.close(descriptor)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
