"""What we show a registry so that it lets us in: the answer to its challenge.

    registry ── 401, Bearer realm, service ──▶ realm?service=…&scope=repository:app:pull   with who we are
             ◀── Authorization: Bearer … ───── {"token": "…", "expires_in": 300}
             ── 401, Basic ──────────────────▶ Authorization: Basic …

A challenge counts only from the registry itself, never from somebody it redirected us to, and the realm is asked by
https, unless the registry itself is one that is spoken to in the clear (CVE-2020-15157). See distribution's
spec/auth/token.md and spec/auth/oauth.md.
"""

from __future__ import annotations

import threading
import time
from urllib.parse import urlencode, urlsplit

from minirun.errors import BadLayer, MinirunError
from minirun.image import jsondocument
from minirun.registry.accounts import Account
from minirun.registry.address import origin_of, shown
from minirun.registry.loss import shown_safely

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from minirun.registry.challenge import Challenge
    from minirun.registry.transport import Answer, Transport

_ANSWER_BYTES = 1 << 20
_TOKEN_CHARACTERS = 256 << 10
_LIFE_S = 60.0  # of a token that does not say how long it lives
_LIFE_MAX_S = 3600.0
_EARLY_S = 5.0  # a token is not used when it has so little left
_CLIENT = "minirun"


class Denied(Exception):
    """The registry, or the realm it named, does not let us in.

    Attributes:
        reason: why, to follow "cannot pull …:".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Authorization:
    """Shown to one registry, in one command.

    Args:
        transport: by which realms are asked.
        account: who we are; None: nobody.

    Attributes:
        wants_identity: whether realms are asked for an identity token, too.
        identity: that they gave; empty: none.
    """

    def __init__(self, transport: Transport, account: Account | None) -> None:
        self.account = account
        self.wants_identity = False
        self.identity = ""
        self._transport = transport
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._plain = False
        # of those who upload side by side one asks for the token
        self._lock = threading.RLock()

    @property
    def secrets(self) -> list[str]:
        """What no message may hold."""
        own = self.account.secrets if self.account else []
        return [*own, *(token for token, _ in self._tokens.values()), *filter(None, (self.identity,))]

    def header(self, scopes: Sequence[str]) -> str:
        """The Authorization header for *scopes*; empty while the registry wants none.

        Raises:
            Denied, Lost: there is no token to be had.
        """
        if self.account and self.account.registry_token:
            return f"Bearer {self.account.registry_token}"
        if self._challenge is None:
            return ""
        if self._challenge.scheme == "basic":
            return self.account.basic if self.account and self.account.username else ""
        with self._lock:
            key = tuple(sorted(scopes))
            token, until = self._tokens.get(key, ("", 0.0))
            if not token or until < time.monotonic() + _EARLY_S:
                token, life_s = self._grant(self._challenge, scopes)
                self._tokens[key] = token, time.monotonic() + life_s
            return f"Bearer {token}"

    def challenged(self, challenges: Iterable[Challenge], scopes: Sequence[str], sent: str, *, plain: bool) -> bool:
        """Take note of what the registry wants.

        Args:
            challenges: of its 401.
            scopes: of what it refused.
            sent: the header that was sent with that.
            plain: whether it was spoken to in the clear.

        Returns:
            Whether there is another header to be tried.
        """
        usable = {challenge.scheme: challenge for challenge in reversed(list(challenges))}
        self._plain = plain
        with self._lock:
            if "bearer" in usable and not (self.account and self.account.registry_token):
                self._challenge = usable["bearer"]
                key = tuple(sorted(scopes))
                token = self._tokens.get(key, ("", 0.0))[0]
                if token and token in sent:  # it has expired; else somebody fetched another meanwhile
                    del self._tokens[key]
                return True
            if "basic" in usable:
                self._challenge = usable["basic"]
                return not sent.startswith("Basic") and self.header(scopes) != ""
        return False

    def _grant(self, challenge: Challenge, scopes: Sequence[str]) -> tuple[str, float]:
        """Ask the realm of a Bearer challenge for a token; returns it, and how many seconds it is good for."""
        realm = challenge.parameters.get("realm", "")
        self._check_realm(realm)
        wanted = {"service": challenge.parameters.get("service", ""), "client_id": _CLIENT}
        account = self.account
        headers = {"Accept": "application/json"}
        body: bytes | None = None
        if account and account.identity_token:
            form = {**wanted, "grant_type": "refresh_token", "refresh_token": account.identity_token}
            body = urlencode({**form, "scope": " ".join(scopes)}).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            url = realm
        else:
            pairs = [*wanted.items(), *(("scope", scope) for scope in scopes)]
            if self.wants_identity:
                pairs.append(("offline_token", "true"))
            if account and account.username:
                pairs.append(("account", account.username))
                headers["Authorization"] = account.basic
            url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode([pair for pair in pairs if pair[1]])}"
        answer = self._transport.exchange("POST" if body else "GET", url, headers, body)
        answer.refuse_busy()
        return self._read(answer, realm)

    def _check_realm(self, realm: str) -> None:
        try:
            scheme, host, port = origin_of(realm)
        except ValueError:
            raise Denied(f"the registry sends us to {shown_safely(realm)} for a token, which is no URL") from None
        if scheme != "https" and not (self._plain and self._transport.trust.may_be_plain(host, port)):
            raise Denied(f"the registry sends us to {shown(realm)} for a token, which is not https")

    def _read(self, answer: Answer, realm: str) -> tuple[str, float]:
        where = f"the token of {shown(realm)}"
        data = answer.read(_ANSWER_BYTES, where)
        if 300 <= answer.status < 400:
            raise Denied(f"{shown(realm)} sends us on for a token, and nobody else gets to know who we are")
        if answer.status in (400, 401, 403):
            who = f"for {self.account.username!r}" if self.account and self.account.username else "for nobody"
            raise Denied(f"{shown(realm)} gives no token {who} (status {answer.status})")
        if answer.status != 200:
            raise Denied(f"{shown(realm)} gives no token (status {answer.status})")
        try:
            document = jsondocument.parse(data, where)
        except BadLayer as error:
            raise Denied(f"{where} is none: {error.reason}") from None
        found = document if isinstance(document, dict) else {}
        token = found.get("token") or found.get("access_token")
        refresh = found.get("refresh_token") or ""
        for text in (token, refresh):
            if not isinstance(text, str) or len(text) > _TOKEN_CHARACTERS or not _is_visible(text):
                raise Denied(f"{where} is none")
        life = found.get("expires_in")
        seconds = float(life) if isinstance(life, int | float) and not isinstance(life, bool) else _LIFE_S
        self.identity = str(refresh)
        return str(token), min(max(seconds, _EARLY_S * 2), _LIFE_MAX_S)


def _is_visible(text: str) -> bool:
    """Whether a text can stand in a header."""
    return all("!" <= sign <= "~" for sign in text)


def denied(attempt: str, name: str, reason: str, *, known: bool) -> MinirunError:
    """The refusal of who is not let in: *name* is the registry's, *known* whether we said who we are."""
    server = "" if name == "docker.io" else f" {name}"
    what = "you may not" if known else "it is private"
    remedy = f"it is not there, or {what}: `minirun login{server}` says who you are"
    return MinirunError(attempt, reason, remedy)
