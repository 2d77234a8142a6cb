"""A container asks for a name: one of its networks has it, or a server elsewhere is asked.

    question ─▶ a name, or an address, of a network that the container is on ──▶ answered here
             ─▶ may it ask others? all its networks are --internal, or somebody in `may_ask` says no ──▶ NXDOMAIN
             ─▶ forwarding.py: --dns, or the host's servers ──▶ `learned` ──▶ answer

Of a name that is known here nothing is asked elsewhere, of whatever type: what it has not got is an empty answer. As
with Docker, ``NAME.NETWORK`` is known, too, and is what an address leads back to.
"""

from __future__ import annotations

from minirun.attendant import message
from minirun.attendant.message import AAAA, ANY, NOERROR, NXDOMAIN, PTR, SERVFAIL, A, Malformed, Question
from minirun.network import address
from minirun.network.address import Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.attendant.census import Census, Member, Register
    from minirun.attendant.forwarding import Forwarding

    Reply = Callable[[bytes], None]

_TURNS = 10_000  # names whose addresses are told in turn; with more than that, all begin again


class Resolver:
    """What answers questions.

    Attributes:
        census: who is on the networks.
        may_ask: each is asked whether a container may have a name asked elsewhere, by its id and the name, in small
            letters and without a dot at its end.
        learned: each is told what was answered from elsewhere, before the container is: its id, the name, the
            addresses of either kind, for how many seconds they hold.
    """

    def __init__(self, census: Census, forwarding: Forwarding) -> None:
        self.census = census
        self.may_ask: list[Callable[[str, str], bool]] = []
        self.learned: list[Callable[[str, str, list[str], int], None]] = []
        self._forwarding = forwarding
        self._turns: dict[tuple[str, int], int] = {}

    def ask(self, asker: Member, data: bytes, reply: Reply, *, stream: bool) -> None:
        """Answer a message, now or later.

        Args:
            asker: who asks.
            data: the message.
            reply: called once, with the answer; with an empty one where there is none to give.
            stream: whether it came by TCP.
        """
        try:
            question = Question(data)
        except Malformed as wrong:
            reply(wrong.reply)
            return
        places = self.census.of(asker.id)
        answer = self._answer(question, [register for register, _ in places if register.has_names], stream=stream)
        if answer:
            reply(answer)
        elif all(register.network.internal for register, _ in places) or not self._may_ask(asker.id, question.text):
            reply(question.reply(NXDOMAIN))
        else:
            self._forward(asker, question, reply, stream=stream)

    def _may_ask(self, container_id: str, name: str) -> bool:
        return all(may(container_id, name) for may in self.may_ask)

    def _answer(self, question: Question, registers: list[Register], *, stream: bool) -> bytes:
        """What is known here; empty if it is for others to say."""
        if question.kind == PTR and (where := message.reverse(question.name)):
            return self._answer_reverse(question, registers, where, stream=stream)
        found = self._find(question.text, registers)
        if not found:
            return b""
        kinds = (A, AAAA) if question.kind == ANY else (question.kind,)
        for kind in kinds:
            every = [one.lease.address if kind == A else one.lease.address6 for one in found]
            values = [text for text in every if text] if kind in (A, AAAA) else []
            if values:
                return question.reply(NOERROR, kind, self._in_turn(question.text, kind, values), stream=stream)
        return question.reply(NOERROR)

    def _find(self, name: str, registers: list[Register]) -> list[Member]:
        """Those who have a name on the first of these networks where somebody has it; or NAME.NETWORK on that."""
        for register in registers:
            own = f".{register.network.name.lower()}"
            for wanted in (name, name.removesuffix(own)):
                if members := register.by_name.get(wanted):
                    return list(members.values())
        return []

    def _answer_reverse(self, question: Question, registers: list[Register], where: str, *, stream: bool) -> bytes:
        bits = address.width(where)
        for register in registers:
            member = register.by_address.get(where)
            if member:
                name = f"{member.box.name}.{register.network.name}."
                return question.reply(NOERROR, PTR, [name] if message.is_name(name) else [], stream=stream)
            block = register.network.subnet if bits == 32 else register.network.subnet6
            if block and Subnet.parse(block).holds(address.parse(where), bits):
                return question.reply(NXDOMAIN)  # nobody elsewhere knows who has it
        return b""

    def _in_turn(self, name: str, kind: int, values: list[str]) -> list[str]:
        """The same, each time with another of them in the first place."""
        if len(values) == 1:
            return values
        if len(self._turns) > _TURNS:
            self._turns.clear()
        turn = self._turns[name, kind] = self._turns.get((name, kind), -1) + 1
        first = turn % len(values)
        return values[first:] + values[:first]

    def _forward(self, asker: Member, question: Question, reply: Reply, *, stream: bool) -> None:
        def done(data: bytes) -> None:
            if not data:
                reply(question.reply(SERVFAIL))
                return
            if self.learned and question.kind in (A, AAAA, ANY):
                addresses, seconds = question.addresses(data)
                if addresses:
                    for learn in self.learned:
                        learn(asker.id, question.text, addresses, seconds)
            reply(question.answer(data, stream=stream))

        servers = (asker.box.options.get("dns") or {}).get("servers")
        self._forwarding.ask(asker.id, question, servers, done, stream=stream)
