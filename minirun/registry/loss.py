"""Why an exchange came to no good end, in words that a user can do something with.

urllib3                        here
-----------------------------  ------------------------------------------------------------------
NameResolutionError            the host … is not known                      not tried again
NewConnectionError             no connection: ECONNREFUSED …                not tried again
ConnectTimeoutError            no connection within 10 s                    tried again
ReadTimeoutError               nothing came for 30 s                        tried again
SSLError, of a certificate     it is not trusted                            not tried again
SSLError, of ours              it wants a certificate of ours               not tried again
SSLError, no TLS               it does not speak TLS                        in the clear, if that is allowed
ProtocolError, anything else   the connection broke: ECONNRESET …           tried again
"""

from __future__ import annotations

import os
import re
import socket
import ssl

from urllib3 import exceptions

from minirun.errors import MinirunError
from minirun.registry.address import origin_of, place_of, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.registry.patience import Patience

# alerts by which a server says what it thinks of a client's certificate, or that there is none: RFC 8446, 6.2
_OURS = re.compile(r"ALERT_(BAD|UNSUPPORTED)_CERTIFICATE|ALERT_CERTIFICATE_|ALERT_UNKNOWN_CA|ALERT_ACCESS_DENIED")


class Lost(Exception):
    """An exchange that came to no good end.

    Attributes:
        reason: why, to follow "cannot pull …:".
        remedy: what the user can do.
        again: whether it may go better another time.
        is_plain: whether the other side seems not to speak TLS.
        after_s: how long the other side wants to be left alone; None: it did not say.
    """

    def __init__(
        self, reason: str, remedy: str = "", *, again: bool = True, is_plain: bool = False, after_s: float | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.again = again
        self.is_plain = is_plain
        self.after_s = after_s

    def refusal(self, attempt: str) -> MinirunError:
        """What a user reads when it was in vain."""
        return MinirunError(attempt, self.reason, self.remedy)


def shown_safely(url: str) -> str:
    """`shown`, also for what is no URL."""
    try:
        return shown(url)
    except ValueError:
        return repr(url.partition("?")[0][:80])


def lost(error: Exception, url: str, patience: Patience) -> Lost:
    """What urllib3 says of an exchange that failed, in our words."""
    scheme, host, _ = origin = origin_of(url)
    place = place_of(origin)
    if isinstance(error, exceptions.ProxyError):
        inner = lost(error.original_error, url, patience)
        reason = f"the proxy of the environment does not lead to {host}: {_inner(error.original_error)}"
        return Lost(reason, "HTTPS_PROXY names it; NO_PROXY lists hosts that need none", again=inner.again)
    if isinstance(error, exceptions.NameResolutionError):
        remedy = f"`getent hosts {host}` asks the same; look at the name and /etc/resolv.conf"
        return Lost(f"the host {host} is not known ({_inner(error)})", remedy, again=False)
    if isinstance(error, exceptions.NewConnectionError):
        return Lost(
            f"no connection to {place}: {_inner(error)}", f"look whether a registry runs at {place}", again=False
        )
    if isinstance(error, exceptions.ConnectTimeoutError):
        return Lost(f"{place} does not answer: ETIMEDOUT, no connection within {patience.connect_s:g} s",
                    "look at the name, the port, and at HTTPS_PROXY", is_plain=scheme == "https")  # fmt: skip
    if isinstance(error, exceptions.TimeoutError):
        return Lost(f"{place} stalls: nothing came for {patience.stall_s:g} s", "try again later")
    if isinstance(error, exceptions.SSLError | ssl.SSLError):
        return _tls(error, place)
    if isinstance(error, exceptions.LocationValueError | exceptions.InvalidHeader | UnicodeError):
        return Lost(f"{shown_safely(url)} is no URL that can be asked for", again=False)
    return Lost(f"the connection to {place} broke: {_inner(error)}", "try again later", is_plain=scheme == "https")


def _tls(error: Exception, place: str) -> Lost:
    cause = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Lost(
            f"the certificate of {place} is not trusted: {cause.verify_message}",
            f"put its authority's certificate into /etc/docker/certs.d/{place}/ca.crt, or into DIR of --cert-dir;\n"
            "--tls-verify=false takes any, also that of somebody in between", again=False,
        )  # fmt: skip
    reason = getattr(cause, "reason", None) or str(cause)[:120]
    if _OURS.search(reason):
        return Lost(
            f"{place} wants a certificate of ours that it knows, and was shown none, or another ({reason})",
            f"put NAME.cert and NAME.key into /etc/docker/certs.d/{place}/, or into DIR of --cert-dir", again=False,
        )  # fmt: skip
    cut = isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    plain = reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")
    if plain:
        return Lost(f"{place} does not speak TLS ({reason})",
                    f"where it is to be spoken to in the clear: MINIRUN_INSECURE_REGISTRIES={place}, or\n"
                    f'{{"insecure-registries": ["{place}"]}} in /etc/docker/daemon.json',
                    again=False, is_plain=True)  # fmt: skip
    return Lost(f"TLS with {place} failed: {reason}", "try again later" if cut else "", again=cut, is_plain=cut)


def _inner(error: BaseException) -> str:
    """The innermost cause, with its errno by name where it has one."""
    from errno import errorcode

    seen: BaseException | None = error
    text = ""
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None and seen.errno in errorcode:
            return f"{errorcode[seen.errno]} ({os.strerror(seen.errno)})"
        if isinstance(seen, socket.gaierror):
            return f"{_eai(seen.errno)} ({seen.strerror})"
        if isinstance(seen, OSError) and seen.strerror:
            text = str(seen.strerror)
        following = seen.__cause__ or seen.__context__
        nested = next((value for value in seen.args if isinstance(value, BaseException)), None)
        seen = nested or following
    return text or str(error)[:160] or type(error).__name__


def _eai(number: int | None) -> str:
    """The name of an error of getaddrinfo(3)."""
    names = (name for name in dir(socket) if name.startswith("EAI_") and getattr(socket, name) == number)
    return next(names, "EAI")
