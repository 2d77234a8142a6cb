"""One exchange with whoever a URL names: a request, and the answer to it; urllib3 does the HTTP.

    URL ─▶ origin ─▶ its connections (TLS by trust.py, through a proxy if the environment has one) ─▶ Answer
                                                                                                  └▶ Lost

Nothing is followed, decoded or tried again here: see client.py. Connections belong to the process that made them: one
that was forked makes its own.
"""

from __future__ import annotations

import os
import time
from http import HTTPStatus

import urllib3
from urllib3 import exceptions

from minirun import __version__
from minirun.errors import BadInput, Unsupported
from minirun.registry.address import Address, origin_of, place_of, shown
from minirun.registry.loss import Lost, lost, shown_safely
from minirun.registry.patience import RETRY_AFTER_S, Patience
from minirun.registry.proxy import proxy_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping

    from minirun.registry.address import Origin
    from minirun.registry.trust import Trust

PIECE_BYTES = 1 << 18
BUSY = (408, 429, 500, 502, 503, 504)
_DRAIN_BYTES = 64 << 10  # of an answer that nobody wants; with more to come the connection is not worth keeping
_CONNECTIONS = 8  # to one origin


class Answer:
    """The answer to a request; `close` it, or read it to its end.

    Attributes:
        status: of HTTP.
        headers: by names in any case.
        url: that was asked.
        strayed: whether another origin than the one that was asked first has answered.
    """

    __slots__ = ("_patience", "_response", "headers", "status", "strayed", "url")

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, patience: Patience) -> None:
        self._response = response
        self._patience = patience
        self.status = response.status
        self.headers = response.headers
        self.url = url
        self.strayed = False

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes.

        Raises:
            Lost: it broke off.
        """
        while True:
            try:
                # what is there as soon as it is; stream() of older versions reads the length of a chunk without a bound
                chunk = self._response.read1(PIECE_BYTES, decode_content=False)
            except (exceptions.HTTPError, OSError, ValueError) as error:
                raise lost(error, self.url, self._patience) from None
            if not chunk:
                self._response.release_conn()
                return
            yield chunk

    def read(self, limit_bytes: int, what: str) -> bytes:
        """The whole body.

        Raises:
            Lost: it broke off, is longer than *limit_bytes*, or takes too long.
        """
        data = bytearray()
        end = time.monotonic() + self._patience.document_s
        for chunk in self.chunks():
            data += chunk
            if len(data) > limit_bytes:
                self.close()
                raise Lost(f"{what} at {shown(self.url)} has more than {limit_bytes} bytes", again=False)
            if time.monotonic() > end:
                self.close()
                raise Lost(
                    f"{what} at {shown(self.url)} is sent too slowly: not whole after {self._patience.document_s:g} s"
                )
        return bytes(data)

    def refuse_busy(self) -> None:
        """Raise Lost where the other side says that it cannot just now."""
        if self.status not in BUSY:
            return
        self.discard()
        place = place_of(origin_of(self.url))
        words = HTTPStatus(self.status).phrase
        after_s = _seconds(self.headers.get("Retry-After"))
        if after_s is not None and after_s > RETRY_AFTER_S:
            raise Lost(
                f"{place} says {self.status} {words}, and to come back in {after_s:g} s", "come back then", again=False
            )
        remedy = "wait some minutes; who is logged in may do more" if self.status == 429 else "try again later"
        raise Lost(f"{place} says {self.status} {words}", remedy, after_s=after_s)

    def discard(self) -> None:
        """Nobody wants the body: read it where it is short, so that the connection can be used again."""
        left = _DRAIN_BYTES
        try:
            for chunk in self.chunks():
                left -= len(chunk)
                if left < 0:
                    break
        except Lost:
            pass
        self.close()

    def interrupt(self) -> None:
        """Have whoever reads the body, in another thread, find its end."""
        try:
            self._response.shutdown()
        except (OSError, ValueError, RuntimeError):
            pass  # it is at its end

    def close(self) -> None:
        """Give the connection up. Idempotent."""
        self._response.close()


class Transport:
    """Connections of one command, made when they are wanted.

    Args:
        trust: see trust.py.
        address: of the registry that the command is about.
        patience: see patience.py.

    Attributes:
        way: how the registry is spoken to; whoever uses this says it. Others are by trust.py's rules.
    """

    def __init__(self, trust: Trust, address: Address, patience: Patience) -> None:
        # what TLS without verification means was said by whoever asked for it
        urllib3.disable_warnings(exceptions.InsecureRequestWarning)
        self.trust = trust
        self.address = address
        self.patience = patience
        self.way = trust.ways(address)[0]
        self._pools: dict[tuple[Origin, bool], urllib3.PoolManager] = {}
        self._process = os.getpid()

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None = None
    ) -> Answer:
        """Send a request, and read the head of the answer.

        Args:
            method: GET, HEAD, POST, PUT or PATCH.
            url: absolute.
            headers: of it.
            body: bytes, or chunks of them with a Content-Length among *headers*.

        Raises:
            Lost: there is no answer.
            BadInput: certificates or a proxy that were configured cannot be used.
        """
        try:
            origin = origin_of(url)
        except ValueError as error:
            raise Lost(f"{shown_safely(url)} cannot be followed: {error}", again=False) from None
        timeout = urllib3.Timeout(connect=self.patience.connect_s, read=self.patience.stall_s)
        if body is not None:
            # urllib3 sends by the first of the two
            timeout = urllib3.Timeout(connect=self.patience.stall_s, read=self.patience.stall_s)
        try:
            response = self._pool(origin).urlopen(
                method, url, headers={"User-Agent": f"minirun/{__version__}", "Accept-Encoding": "identity", **headers},
                body=body, timeout=timeout, redirect=False, retries=False, preload_content=False, decode_content=False,
            )  # fmt: skip
        except (exceptions.HTTPError, OSError, ValueError) as error:
            raise lost(error, url, self.patience) from None
        return Answer(response, url, self.patience)

    def close(self) -> None:
        """Close what is open. Idempotent; what is asked afterwards opens anew."""
        for manager in self._pools.values():
            for key in manager.pools.keys():  # noqa: SIM118 - it is no dict, and does not iterate
                manager.pools[key].close()
        self._pools = {}

    def _pool(self, origin: Origin) -> urllib3.PoolManager:
        if self._process != os.getpid():
            self._pools, self._process = {}, os.getpid()
        scheme, host, port = origin
        own = origin == self.address.origin(scheme)
        verified = self.way.verified if own else self.trust.tls_verify and not self.trust.is_listed(host, port)
        pool = self._pools.get((origin, verified))
        if pool is None:
            pool = self._pools[origin, verified] = self._connect(origin, own=own, verified=verified)
        return pool

    def _connect(self, origin: Origin, *, own: bool, verified: bool) -> urllib3.PoolManager:
        scheme, host, port = origin
        context: ssl.SSLContext | None = None
        if scheme == "https":
            names = (self.address.name, self.address.place) if own else (place_of(origin),)
            context = self.trust.context(*names, own=own, verified=verified)
        proxy = proxy_of(scheme, host, port)
        if not proxy:
            return urllib3.PoolManager(2, maxsize=_CONNECTIONS, ssl_context=context)
        try:
            parsed = urllib3.util.parse_url(proxy)
            if parsed.scheme not in ("http", "https"):
                raise Unsupported(f"use the proxy {parsed.host}", f"{parsed.scheme} is not http or https",
                                  "set HTTPS_PROXY to http://HOST:PORT")  # fmt: skip
            secret = urllib3.make_headers(proxy_basic_auth=parsed.auth) if parsed.auth else None
            return urllib3.ProxyManager(proxy, 2, maxsize=_CONNECTIONS, ssl_context=context, proxy_headers=secret)
        except (exceptions.HTTPError, ValueError):
            raise BadInput(
                "use the proxy of the environment", "it is no URL", "set HTTPS_PROXY to http://HOST:PORT"
            ) from None


def _seconds(header: str | None) -> float | None:
    """Retry-After, in seconds or as a date: RFC 9110, 10.2.3."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
