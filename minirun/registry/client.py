"""What one registry is asked, and what it answers: authorised, redirected, tried again, within bounds.

    send ─▶ once ─▶ authorised ─▶ exchange ─▶ 200 …          ─▶ Answer
      ▲       │         ▲ └─ 401: show what it wants, once
      │       │         └─── 30x: GET and HEAD go where it says, at most 10 times; who we are stays behind
      └ Lost ─┘              429, 5xx, a broken connection: Lost, and again after a pause

How it is spoken to is found out by the first request: see trust.py.
"""

from __future__ import annotations

import threading
from http import HTTPStatus
from urllib.parse import urljoin

from minirun.errors import MinirunError, NotFound
from minirun.registry import challenge, complaint
from minirun.registry.address import origin_of, shown
from minirun.registry.authorization import Authorization, Denied, denied
from minirun.registry.loss import Lost
from minirun.registry.patience import Patience, Waiting
from minirun.registry.transport import Answer, Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from minirun.registry.accounts import Account
    from minirun.registry.address import Address
    from minirun.registry.trust import Trust

    Body = bytes | Callable[[], Iterable[bytes]] | None

REDIRECTS = 10
_AUTHORIZATIONS = 3  # of one request: without, with what it wants, with a new token
_REDIRECTED = (301, 302, 303, 307, 308)


class Client:
    """A registry, spoken to by one command.

    Args:
        address: where it is.
        attempt: what the command does, to follow "cannot": ``pull localhost:5000/app:1``.
        trust: see trust.py.
        account: who we are to it; None: nobody.
        patience: see patience.py.

    Attributes:
        waiting: by which whoever waits is made to stop.
    """

    def __init__(
        self, address: Address, attempt: str, trust: Trust, account: Account | None, patience: Patience | None = None
    ) -> None:
        self.address = address
        self.attempt = attempt
        self.patience = patience or Patience()
        self.waiting = Waiting()
        self._transport = Transport(trust, address, self.patience)
        self.authorization = Authorization(self._transport, account)
        self._ways = trust.ways(address)
        self._first_contact = threading.Lock()

    @property
    def base(self) -> str:
        """The URL that paths come after."""
        return f"{self._transport.way.scheme}://{self.address.place}"

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._transport.close()

    def send(
        self, method: str, target: str, *, scopes: Sequence[str] = (), headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Answer:  # fmt: skip
        """Ask, again and again if need be.

        Args:
            method: of HTTP.
            target: a path from ``/v2/`` on, or a URL that the registry gave.
            scopes: what a token is needed for: ``repository:app:pull``.
            headers: of the request.
            body: bytes, or what begins to yield them, with a Content-Length among *headers*.

        Raises:
            MinirunError: it was in vain.
        """
        failures = 0
        while True:
            try:
                return self.once(method, target, scopes=scopes, headers=headers, body=body)
            except Lost as lost:
                failures += 1
                self.rest(lost, failures)

    def rest(self, lost: Lost, failures: int, waiting: Waiting | None = None) -> None:
        """Wait before what was *lost* is tried again; *waiting* is that of who may be made to stop alone.

        Raises:
            MinirunError: it was the last time.
            Cancelled: nobody wants it any more.
        """
        if not lost.again or failures >= self.patience.attempts:
            raise lost.refusal(self.attempt) from None
        pause_s = self.patience.pause_s(failures) if lost.after_s is None else lost.after_s
        (waiting or self.waiting).pause(pause_s)

    def once(
        self, method: str, target: str, *, scopes: Sequence[str] = (), headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Answer:  # fmt: skip
        """Ask once; the arguments are those of `send`.

        Raises:
            Lost: no answer came, or one that says to come again.
            MinirunError: it does not let us in, or sends us in circles.
        """
        try:
            answer = self._first(method, target, scopes, headers or {}, body)
        except Denied as error:
            raise self._denied(error.reason) from None
        answer.refuse_busy()
        return answer

    def expect(self, answer: Answer, *statuses: int, what: str) -> Answer:
        """Return *answer* if its status is one of *statuses*.

        Raises:
            MinirunError: it is another; the refusal says what the registry says, and what *what* is that was asked for.
        """
        if answer.status in statuses:
            return answer
        raise self.refusal(answer, what)

    def refusal(self, answer: Answer, what: str) -> MinirunError:
        """What a user reads of an answer that is not the one that was hoped for."""
        status = answer.status
        phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else ""
        said = complaint.read(answer, self.hide)
        reason = f"{shown(self.base)} says {status} {phrase}".rstrip() + f" for {what}" + (f": {said}" if said else "")
        if answer.strayed:
            reason = f"{shown(answer.url)}, where the registry sends us, says {status} {phrase}".rstrip()
            return MinirunError(self.attempt, reason, "try again later")
        if status in (401, 403):
            return self._denied(reason)
        if status == 404:
            return NotFound(
                self.attempt, reason, "look at the name and the tag; what is private is not shown to everybody"
            )
        return MinirunError(self.attempt, reason, "")

    def hide(self, text: str) -> str:
        """*text* without our secrets."""
        for secret in self.authorization.secrets:
            text = text.replace(secret, "***")
        return text

    def _denied(self, reason: str) -> MinirunError:
        account = self.authorization.account
        return denied(self.attempt, self.address.name, self.hide(reason), known=account is not None)

    def _first(self, method: str, target: str, scopes: Sequence[str], headers: Mapping[str, str], body: Body) -> Answer:
        """Find out how the registry is spoken to, if that is not known yet; then see `_authorized`."""
        with self._first_contact:
            before: Lost | None = None
            ways = list(self._ways)
            while ways:
                self._transport.way = ways.pop(0)
                try:
                    answer = self._authorized(method, target, scopes, headers, body)
                except Lost as lost:
                    if not ways or not (lost.is_plain or self.address.port is None):
                        raise before or lost from None
                    before = lost
                    continue
                if before is not None and before.again and answer.status == 400:
                    raise before  # it is one that speaks TLS after all
                self._ways = []
                return answer
        return self._authorized(method, target, scopes, headers, body)

    def _authorized(
        self, method: str, target: str, scopes: Sequence[str], headers: Mapping[str, str], body: Body
    ) -> Answer:
        own = self._transport.way.scheme
        url = target if "://" in target else self.base + target
        for turn in range(1, _AUTHORIZATIONS + 1):
            shown_to = origin_of(url) == self.address.origin(own)
            header = self.authorization.header(scopes) if shown_to else ""
            answer = self._redirected(method, url, {**headers, "Authorization": header} if header else headers, body)
            if answer.status != 401 or answer.strayed or not shown_to or turn == _AUTHORIZATIONS:
                return answer
            wanted = challenge.parse(answer.headers.getlist("WWW-Authenticate"))
            if not self.authorization.challenged(wanted, scopes, header, plain=own == "http"):
                return answer
            answer.discard()
        raise AssertionError("unreachable")

    def _redirected(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> Answer:
        first = origin_of(url)
        strayed = False
        for _ in range(REDIRECTS + 1):
            answer = self._transport.exchange(method, url, headers, body() if callable(body) else body)
            answer.strayed = strayed
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTED or method not in ("GET", "HEAD") or not location:
                return answer
            answer.discard()
            url = self.follow(url, location)
            if origin_of(url) != first and not strayed:
                strayed = True
                # nor does anybody get it to whom we are sent from there, be it the first one
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
        raise MinirunError(self.attempt, f"{shown(self.base)} sends us on more than {REDIRECTS} times",
                           "that is a fault of the registry's")  # fmt: skip

    def follow(self, url: str, location: str) -> str:
        """Where *location*, in an answer from *url*, leads.

        Raises:
            MinirunError: nowhere, or from https into the clear.
        """
        try:
            target = urljoin(url, location)
            scheme, host, port = origin_of(target)
        except ValueError:
            raise MinirunError(self.attempt, f"{shown(url)} sends us to what is no URL of http or https",
                               "that is a fault of the registry's") from None  # fmt: skip
        if scheme != "https" and (origin_of(url)[0] == "https" or not self._transport.trust.may_be_plain(host, port)):
            raise MinirunError(self.attempt, f"{shown(url)} sends us to {shown(target)}, which is not https",
                               "that is a fault of the registry's: anybody could listen there")  # fmt: skip
        return target
