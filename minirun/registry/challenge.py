"""What a registry wants to be shown before it answers: the header of a 401, taken apart.

    WWW-Authenticate: Bearer realm="https://auth.example/token",service="reg",scope="repository:app:pull"
    WWW-Authenticate: Basic realm="it says"

See RFC 9110, 11.6.1, and distribution's spec/auth/token.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HEADER_CHARACTERS = 8192
_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9_-]*)(?=\s|,|$)")
_PARAMETER = re.compile(r'[\s,]*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to be let in.

    Attributes:
        scheme: ``basic``, ``bearer`` …
        parameters: by name, in lower case.
    """

    scheme: str
    parameters: Mapping[str, str]


def parse(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge in the WWW-Authenticate *headers*; what cannot be read ends the header that it is in."""
    found = []
    for header in headers:
        text, at = header[:_HEADER_CHARACTERS], 0
        while scheme := _SCHEME.match(text, at):
            at = scheme.end()
            parameters = {}
            while parameter := _PARAMETER.match(text, at):
                at = parameter.end()
                name, quoted, plain = parameter.groups()
                parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            found.append(Challenge(scheme[1].lower(), parameters))
    return found
