"""Dockerfile instructions that change an image's config: what ``commit -c`` and ``import -c`` take.

    CMD ENTRYPOINT          ["program", "argument"]   or   text for /bin/sh -c
    ENV LABEL               name=value name="a value" …   or   name rest of the line
    EXPOSE                  80 443/udp 8000-8010
    VOLUME                  ["/data"]   or   /data /more
    USER WORKDIR STOPSIGNAL one word

Words are quoted, escaped and expanded ($NAME, ${NAME:-word}, from the image's Env) as in a Dockerfile; CMD and
ENTRYPOINT are not. See docs.docker.com/reference/dockerfile.
"""

from __future__ import annotations

from minirun.errors import BadInput
from minirun.kernel import jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Inner = dict[str, Any]
    Instruction = Callable[[Inner, str], None]

_NAMED = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR"


def apply(raw: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A copy of the OCI image config *raw* with *changes* made, in their order.

    Raises:
        BadInput: an instruction is unknown, or its arguments cannot be understood.
    """
    inner = dict(raw.get("config") or {})
    cmd_given = False
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        instruction = _INSTRUCTIONS.get(word.upper())
        if instruction is None:
            raise BadInput(f"apply the change {change!r}", "this instruction does not change an image's config",
                           f"those that do: {_NAMED}")  # fmt: skip
        try:
            instruction(inner, rest.strip())
        except ValueError as error:
            raise BadInput(f"apply the change {change!r}", str(error), _remedy(word.upper())) from None
        # as in a Dockerfile: the old Cmd was made for the old Entrypoint
        cmd_given |= word.upper() == "CMD"
        if word.upper() == "ENTRYPOINT" and not cmd_given:
            inner.pop("Cmd", None)
    return {**raw, "config": inner}


def _cmd(inner: Inner, text: str) -> None:
    inner["Cmd"] = _command(text)


def _entrypoint(inner: Inner, text: str) -> None:
    inner["Entrypoint"] = _command(text)


def _command(text: str) -> list[str] | None:
    if not text:
        raise ValueError("it has no command")
    words = _json_words(text)
    # like Docker: `[ -f x ] && y` begins like a list and is a line for the shell
    return ["/bin/sh", "-c", text] if words is None else words


def _env(inner: Inner, text: str) -> None:
    values = {entry.partition("=")[0]: entry for entry in inner.get("Env") or ()}
    for name, value in _pairs(text, _environment(inner)):
        values[name] = f"{name}={value}"
    inner["Env"] = list(values.values())


def _label(inner: Inner, text: str) -> None:
    inner["Labels"] = {**(inner.get("Labels") or {}), **dict(_pairs(text, _environment(inner)))}


def _expose(inner: Inner, text: str) -> None:
    ports = dict(inner.get("ExposedPorts") or {})
    for word in _some_words(text, _environment(inner)):
        numbers, _, protocol = word.partition("/")
        first, _, last = numbers.partition("-")
        protocol = (protocol or "tcp").lower()
        low, high = _port(word, first), _port(word, last or first)
        if protocol not in ("tcp", "udp", "sctp") or low > high:
            raise ValueError(f"{word!r} is no port")
        for number in range(low, high + 1):
            ports[f"{number}/{protocol}"] = {}
    inner["ExposedPorts"] = ports


def _port(word: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536):
        raise ValueError(f"{word!r} is no port")
    return int(digits)


def _volume(inner: Inner, text: str) -> None:
    paths = _json_words(text)
    if paths is None:
        paths = _some_words(text, _environment(inner))
    if not all(paths):
        raise ValueError("a path is empty")
    inner["Volumes"] = {**(inner.get("Volumes") or {}), **{path: {} for path in paths}}


def _user(inner: Inner, text: str) -> None:
    inner["User"] = _one_word(text, inner)


def _stop_signal(inner: Inner, text: str) -> None:
    inner["StopSignal"] = _one_word(text, inner)


def _working_dir(inner: Inner, text: str) -> None:
    import os.path

    path = os.path.join("/", inner.get("WorkingDir") or "/", _one_word(text, inner))
    inner["WorkingDir"] = "/" + os.path.normpath(path).lstrip("/")


_INSTRUCTIONS: dict[str, Instruction] = {
    "CMD": _cmd, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose, "LABEL": _label,
    "STOPSIGNAL": _stop_signal, "USER": _user, "VOLUME": _volume, "WORKDIR": _working_dir,
}  # fmt: skip


def _remedy(word: str) -> str:
    example = {
        "CMD": 'CMD ["sh", "-l"]', "ENTRYPOINT": 'ENTRYPOINT ["/bin/app"]', "ENV": 'ENV NAME=value OTHER="a value"',
        "EXPOSE": "EXPOSE 80 53/udp", "LABEL": 'LABEL name="a value"', "STOPSIGNAL": "STOPSIGNAL SIGINT",
        "USER": "USER name:group", "VOLUME": 'VOLUME ["/data"]', "WORKDIR": "WORKDIR /srv",
    }[word]  # fmt: skip
    return f"write it as in {example}"


def _json_words(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        words = jsonfile.loads(text)
    except ValueError:
        return None
    if not all(isinstance(word, str) for word in words):
        raise ValueError("its list has something else than strings in it")
    return list(words)


def _environment(inner: Inner) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in inner.get("Env") or ())


def _pairs(text: str, environment: dict[str, str]) -> list[tuple[str, str]]:
    first = text.split(None, 1)
    if first and "=" not in first[0]:
        if len(first) == 1:
            raise ValueError(f"{first[0]!r} has no value")
        return [(first[0], "".join(_lex(first[1], environment, split=False)))]
    pairs = []
    for word in _some_words(text, environment):
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ValueError(f"{word!r} is not name=value")
        pairs.append((name, value))
    return pairs


def _some_words(text: str, environment: dict[str, str]) -> list[str]:
    words = _lex(text, environment)
    if not words:
        raise ValueError("it has no arguments")
    return words


def _one_word(text: str, inner: Inner) -> str:
    words = _some_words(text, _environment(inner))
    if len(words) != 1 or not words[0]:
        raise ValueError("it takes one argument")
    return words[0]


def _lex(text: str, environment: dict[str, str], *, split: bool = True) -> list[str]:
    """Split *text* at blanks outside quotes, remove the quotes and escapes, and expand variables."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    at = 0
    while at < len(text):
        sign = text[at]
        at += 1
        if not quote and split and sign in " \t":
            if word is not None:
                words.append(word)
            word = None
            continue
        word = word or ""
        if sign == quote:
            quote = ""
        elif quote != "'" and sign == "$":
            value, at = _expand(text, at, environment)
            word += value
        elif sign == "\\" and quote != "'" and at < len(text):
            # within double quotes a backslash escapes only what is special there
            word += text[at] if not quote or text[at] in '"\\$' else sign + text[at]
            at += 1
        elif not quote and sign in "'\"":
            quote = sign
        else:
            word += sign
    if quote:
        raise ValueError(f"a {quote} is not closed")
    return words if word is None else [*words, word]


def _expand(text: str, at: int, environment: dict[str, str]) -> tuple[str, int]:
    """The value of the variable whose ``$`` ends at *at*, and where the text goes on."""
    if text[at : at + 1] == "{":
        end = text.find("}", at)
        if end < 0:
            raise ValueError("a ${ is not closed")
        name, colon, word = text[at + 1 : end].partition(":")
        if not _is_name(name) or (colon and word[:1] not in ("-", "+")):
            raise ValueError(f"{text[at - 1 : end + 1]!r} is no variable")
        value = environment.get(name, "")
        if colon:
            value = (value or word[1:]) if word[0] == "-" else (value and word[1:])
        return value, end + 1
    end = at
    while end < len(text) and _is_name(text[at : end + 1]):
        end += 1
    return (environment.get(text[at:end], ""), end) if end > at else ("$", at)


def _is_name(text: str) -> bool:
    return text.isascii() and text.isidentifier()
