"""What a registry says of an error, as far as a user is to see it: a short line, with nothing to command a terminal.

    {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": …}]}

See the OCI distribution-spec, "Error codes". Proxies say it in HTML, which nobody wants to read here.
"""

from __future__ import annotations

from minirun.errors import BadLayer
from minirun.image import jsondocument
from minirun.registry.loss import Lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.registry.transport import Answer

_BYTES = 64 << 10
_CHARACTERS = 300


def read(answer: Answer, hide: Callable[[str], str]) -> str:
    """What *answer* says; *hide* takes our secrets out, which a registry may send back."""
    try:
        data = answer.read(_BYTES, "an error")
    except Lost:
        return ""
    text = data.decode(errors="replace")
    try:
        document = jsondocument.parse(data, "an error")
    except BadLayer:
        if "<html" in text[:1000].lower():
            return ""
    else:
        errors = document.get("errors") if isinstance(document, dict) else None
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        text = "; ".join(str(first[key]) for key in ("message", "detail") if isinstance(first.get(key), str))
        text = text or str(first.get("code") or "")
    text = " ".join(hide(text).split())
    text = "".join(sign for sign in text if sign.isprintable())
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"
