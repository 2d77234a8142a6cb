"""Decisions become a program: few instructions to load, few to run at each call.

    if arch == X86_64:
      if number >= 155:                   the range of the number is found by halves
        if number >= 272: …
        else: …
      else: …
    else if arch == I386: …               jumps lead forward, and conditional ones over 255 instructions at most
    …
    load arg1; if == 0x5412: → EPERM      decisions and answers are shared by all that come to them, within reach
    → ALLOW

Of libseccomp's 1,400 instructions for a profile like Docker's, 300 remain. The kernel translates them at the start of
each container, and runs them for every call that it has, to see which are always allowed and need not be asked for.
"""

from __future__ import annotations

from struct import iter_unpack, pack

from minirun.security.seccompdecision import ALL, AND, ARCH, EQUAL, GREATER_OR_EQUAL, JUMP, LOAD, NUMBER, RETURN, below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from minirun.security.seccompdecision import Load, Node, Nodes
    from minirun.security.seccomprun import Instruction, Segments

_FARTHEST = 255
_FEW = 6  # ranges that are tested for one after the other
MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_FORM = "<HBBI"  # struct sock_filter


def assemble(by_arch: Mapping[int, Segments], other: Node, nodes: Nodes) -> bytes:
    """The program that finds the architecture, then the range of a call's number, then decides.

    Args:
        by_arch: AUDIT_ARCH_* number → decisions; the first is looked for first.
        other: what is decided on any other.
        nodes: where all of them were made.

    Returns:
        An array of struct sock_filter.

    Raises:
        ValueError: it has more instructions than the kernel takes.
    """
    root = other
    for arch, found in reversed([*by_arch.items()]):
        root = nodes.test(ARCH, EQUAL, arch, _halves(found, nodes), root)
    instructions = _emit(nodes.simpler(root))
    if len(instructions) > MOST_INSTRUCTIONS:
        raise ValueError(f"it has {len(instructions)} instructions, and the kernel takes {MOST_INSTRUCTIONS}")
    return b"".join(pack(_FORM, *one) for one in instructions)


def decode(program: bytes) -> list[Instruction]:
    """The instructions of an array of struct sock_filter: (code, jt, jf, k)."""
    return [*iter_unpack(_FORM, program)]


def _halves(found: Segments, nodes: Nodes) -> Node:
    """The tests that find the range of a number."""
    if len(found) == 1:
        return found[0][1]
    if (decision := _with_exceptions(found, nodes)) is not None:
        return decision
    middle = len(found) // 2
    # a number that is alone among others stays below, where one test for it is enough
    if middle + 1 < len(found) and found[middle + 1][0] == found[middle][0] + 1:
        middle += 1
    upper, lower = _halves(found[middle:], nodes), _halves(found[:middle], nodes)
    return nodes.test(NUMBER, GREATER_OR_EQUAL, found[middle][0], upper, lower)


def _with_exceptions(found: Segments, nodes: Nodes) -> Node | None:
    """A test for each number that is decided otherwise than those around it; None where there is more to it."""
    usual = found[0][1]
    if len(found) > _FEW or any(decision is not usual for _, decision in found[::2]):
        return None
    result = usual
    for index in range(1, len(found), 2):
        start, decision = found[index]
        if index + 1 == len(found):
            result = nodes.test(NUMBER, GREATER_OR_EQUAL, start, decision, result)
        elif found[index + 1][0] == start + 1:
            result = nodes.test(NUMBER, EQUAL, start, decision, result)
        else:
            return None
    return result


def _emit(root: Node) -> list[Instruction]:
    """Write the nodes down, from the last instruction to the first: so where jumps lead to is written before them."""
    order = below(root)
    loads = _loads(root, order)
    out: list[Instruction] = []
    begins: dict[Node, int] = {}  # where each node begins in *out*, which is the program backwards

    def near(node: Node, room: int) -> int:
        """Have *node*, or a jump to it, within reach of the instruction that is *room* instructions ahead."""
        if len(out) + room - 1 - begins[node] <= _FARTHEST:
            return begins[node]
        if node.load is None:
            out.append((RETURN, 0, 0, node.value))
            begins[node] = len(out) - 1
        else:
            out.append((JUMP, 0, 0, len(out) - 1 - begins[node]))
        return len(out) - 1

    for node in order:
        if node.load is None or node.yes is None or node.no is None:
            out.append((RETURN, 0, 0, node.value))
        else:
            no = near(node.no, 1)
            yes = near(node.yes, 0)
            out.append((node.test, len(out) - 1 - yes, len(out) - 1 - no, node.value))
            if loads[node] != {node.load}:
                offset, mask = node.load
                if mask != ALL:
                    out.append((AND, 0, 0, mask))
                out.append((LOAD, 0, 0, offset))
        begins[node] = len(out) - 1
    out.reverse()
    return out


def _loads(root: Node, order: list[Node]) -> dict[Node, set[Load | None]]:
    """What is loaded where each node is come to: None at the beginning."""
    found: dict[Node, set[Load | None]] = {root: {None}}
    for node in order:
        for following in (node.yes, node.no):
            if following is not None:
                found.setdefault(following, set()).add(node.load)
    return found
