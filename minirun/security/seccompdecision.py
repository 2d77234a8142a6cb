"""What a filter decides of one system call: an answer, or tests of its arguments that lead to one.

    ioctl:  arg1 & 0x80000000 == 0x80000000 ? ─yes─▶ ALLOW             arg1 == 0x5412 ? ─yes─▶ EPERM
            arg1 & 0x40000000 == 0x40000000 ? ─yes─▶ ALLOW     ═══▶    arg1 == 0x541c ? ─yes─▶ EPERM
            … 30 more …                       ─no──▶ EPERM             ALLOW

Decisions that are the same are one object, so what is shared is written once, and what is equal is found by ``is``.
Many tests of one word with the same outcome say which few values have the other: that is simpler asked.

The values are 32 bits: the kernel's filters know no others. An argument has 64, and so two words.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Load: TypeAlias = tuple[int, int]  # offset in struct seccomp_data, mask
    Form: TypeAlias = tuple[int, int]  # (mask, value): all words w with w & mask == value

# linux/bpf_common.h: the codes of instructions
LOAD, RETURN, AND, JUMP = 0x20, 0x06, 0x54, 0x05
EQUAL, GREATER, GREATER_OR_EQUAL, ANY_BIT = 0x15, 0x25, 0x35, 0x45
ALL = 0xFFFFFFFF
# struct seccomp_data of linux/seccomp.h
NUMBER: Load = (0, ALL)
ARCH: Load = (4, ALL)
ARGUMENTS = 16
_FEW, _SEVERAL, _PATIENCE = 8, 4, 2000


class Node:
    """An answer, or a test with what follows either way. Equal ones are one: compare them by ``is``.

    Attributes:
        load: what is tested; None for an answer.
        test: the code of the jump; RETURN for an answer.
        value: what the test compares with, or the answer.
        yes, no: what follows; None for an answer.
    """

    __slots__ = ("load", "no", "test", "value", "yes")

    def __init__(self, load: Load | None, test: int, value: int, yes: Node | None, no: Node | None) -> None:
        self.load = load
        self.test = test
        self.value = value
        self.yes = yes
        self.no = no


class Nodes:
    """Makes nodes, each once."""

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], Node] = {}

    def answer(self, value: int) -> Node:
        """The decision that is always *value*, a SECCOMP_RET_* number."""
        return self._node(None, RETURN, value, None, None)

    def test(self, load: Load, test: int, value: int, yes: Node, no: Node) -> Node:
        """The decision that depends; or one of the two, where it does not."""
        if yes is no or (test == GREATER_OR_EQUAL and value == 0):
            return yes
        return self._node(load, test, value, yes, no)

    def _node(self, load: Load | None, test: int, value: int, yes: Node | None, no: Node | None) -> Node:
        key = (load, test, value, id(yes), id(no))
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = Node(load, test, value, yes, no)
        return found

    def simpler(self, root: Node) -> Node:
        """A decision that is the same as *root*, by fewer tests where many say which few values are left out."""
        known: dict[Node, Node] = {}
        covered: dict[Node, int] = {}  # how many values the tests of a chain hold for, at most
        for node in below(root):
            if node.load is None or node.yes is None or node.no is None:
                known[node] = node
                continue
            more = covered.get(node.no, 0) if _follows(node, node.no) else 0
            covered[node] = more + (1 << 32 - node.load[1].bit_count())
            # of thousands of tests it is not to be asked at each
            forms, rest = _chain(node) if covered[node] > ALL - _FEW else ([], node)
            left_out = _left_out(forms) if len(forms) >= _SEVERAL else None
            if left_out is None:
                known[node] = self.test(node.load, node.test, node.value, known[node.yes], known[node.no])
                continue
            found = known[node.yes]
            for value in reversed(left_out):
                found = self.test((node.load[0], ALL), EQUAL, value, known[rest], found)
            known[node] = found
        return known[root]


def below(root: Node) -> list[Node]:
    """*root* and all that it leads to, each after what it leads to itself."""
    order: list[Node] = []
    pending: list[tuple[Node, bool]] = [(root, False)]
    met: set[Node] = set()
    while pending:
        node, is_left = pending.pop()
        if is_left:
            order.append(node)
        elif node not in met:
            met.add(node)
            pending.append((node, True))
            pending += [(next_, False) for next_ in (node.yes, node.no) if next_ is not None]
    return order


def _follows(node: Node, after: Node) -> bool:
    """Whether *after* is one more test of the same word, with the same outcome."""
    if node.test != EQUAL or after.test != EQUAL or not node.load or not after.load:
        return False
    return after.yes is node.yes and after.load[0] == node.load[0]


def _chain(node: Node) -> tuple[list[Form], Node]:
    """The tests of one word that follow each other and have one outcome; and what follows if none of them holds."""
    forms: list[Form] = []
    before = node
    while node.test == EQUAL and node.load and node.no and (node is before or _follows(before, node)):
        forms.append((node.load[1], node.value))
        before, node = node, node.no
    return forms, node


def _left_out(forms: Sequence[Form]) -> list[int] | None:
    """The values that have none of *forms*, if they are few; None if they are not, or it takes long to tell."""
    found: list[int] = []
    pending: list[Form] = [(0, 0)]  # bits that are settled, and how
    for _ in range(_PATIENCE):
        if not pending:
            return sorted(found)
        settled, value = pending.pop()
        open_forms = [(mask, wanted) for mask, wanted in forms if not (wanted ^ value) & mask & settled]
        if not open_forms:
            if settled != ALL or len(found) == _FEW:
                return None
            found.append(value)
            continue
        unsettled = min((mask & ~settled for mask, _ in open_forms), key=int.bit_count)
        if unsettled:  # otherwise the value has that form
            bit = unsettled & -unsettled
            pending += [(settled | bit, value | bit), (settled | bit, value)]
    return None
