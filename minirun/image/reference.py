"""Names of images as Docker writes them, taken apart without regular expressions.

    localhost:5000/team/app:1.2@sha256:4f5…
    └─────host────┘└─path──┘└tag┘└─digest─┘      name = host/path, lower case after the host, at most 255 characters

    typed                                     familiar (what is stored)
    ----------------------------------------  --------------------------
    ubuntu, library/ubuntu                    ubuntu:latest
    docker.io/library/ubuntu:24.04            ubuntu:24.04
    index.docker.io/team/app                  team/app:latest
    quay.io/team/app:1                        quay.io/team/app:1

The grammar is that of github.com/distribution/reference. A name in the store is the file ``tags/<file_name>``: the
familiar text with ``/`` as ``%2F``; the grammar has neither ``%`` nor a leading dot, so no name leaves that folder.
"""

from __future__ import annotations

from minirun.errors import BadInput

LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
LETTERS = LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
WORD = LETTERS | {"_"}
HEX = frozenset("0123456789abcdef")

NAME_LENGTH = 255  # Docker's limit
TAG_LENGTH = 128
FILE_NAME_LENGTH = 255  # NAME_MAX of Linux's file systems

_REMEDY = "write NAME[:TAG], such as ubuntu-layers, team/app:1.2 or localhost:5000/app; names are in lower case"


class Reference:
    """The name of an image.

    Attributes:
        name: familiar, without tag or digest: ``ubuntu``, ``team/app``, ``localhost:5000/app``.
        tag: ``latest`` where none was given; empty for a reference by digest alone.
        digest: ``sha256:<64 hex>`` or empty.
    """

    __slots__ = ("digest", "name", "tag")

    def __init__(self, name: str, tag: str, digest: str = "") -> None:
        self.name = name
        self.tag = tag
        self.digest = digest

    @property
    def familiar(self) -> str:
        """The text that users see and may type."""
        return self.name + (self.tag and ":" + self.tag) + (self.digest and "@" + self.digest)

    @property
    def file_name(self) -> str:
        """Its file in tags/; for a reference with a tag."""
        return f"{self.name}:{self.tag}".replace("/", "%2F")

    def __repr__(self) -> str:
        """As in ``Reference('ubuntu:latest')``."""
        return f"Reference({self.familiar!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self.familiar == other.familiar

    def __hash__(self) -> int:
        return hash(self.familiar)


def parse(text: str) -> Reference:
    """Take the name of an image apart.

    Raises:
        BadInput: *text* is none; it says what is wrong with it.
    """
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        _refuse(text, "what follows @ is not sha256: and 64 hexadecimal digits")
    # a colon before the last slash is that of a port
    name, colon, tag = rest, "", ""
    if (cut := rest.rfind(":")) > rest.rfind("/"):
        name, colon, tag = rest[:cut], ":", rest[cut + 1 :]
    if colon:
        _check_tag(text, tag)
    _check_name(text, name)
    reference = Reference(_familiar(name), tag or ("" if digest else "latest"), digest)
    if len(reference.file_name) > FILE_NAME_LENGTH:
        _refuse(text, f"it is too long to be stored: {FILE_NAME_LENGTH} bytes, counting each / as three")
    return reference


def of_file_name(file_name: str) -> str:
    """The familiar text of a file in tags/."""
    return file_name.replace("%2F", "/")


def is_hex(text: str) -> bool:
    """Whether *text* is one or more lower-case hexadecimal digits."""
    return bool(text) and HEX.issuperset(text)


def is_id(text: object) -> bool:
    """Whether *text* is a whole id: 64 hexadecimal digits."""
    return isinstance(text, str) and len(text) == 64 and HEX.issuperset(text)


def is_digest(text: object) -> bool:
    """Whether *text* is ``sha256:`` and 64 hexadecimal digits; checked before a digest becomes a path."""
    return isinstance(text, str) and text[:7] == "sha256:" and is_id(text[7:])


def _check_tag(text: str, tag: str) -> None:
    if not tag:
        _refuse(text, "its tag is empty")
    if len(tag) > TAG_LENGTH:
        _refuse(text, f"its tag is longer than {TAG_LENGTH} characters")
    if tag[0] not in WORD or not all(sign in WORD or sign in ".-" for sign in tag):
        _refuse(text, "a tag has letters, digits, '_', '.' and '-', and begins with neither of the last two")


def _check_name(text: str, name: str) -> None:
    if not name:
        _refuse(text, "it is empty")
    if len(name) > NAME_LENGTH:
        _refuse(text, f"it is longer than {NAME_LENGTH} characters")
    if is_id(name):
        _refuse(text, "64 hexadecimal digits are an image's id, not a name")
    first, *others = name.split("/")
    if others and _is_host(first):
        _check_host(text, first)
    else:
        others.insert(0, first)
    for part in others:
        _check_part(text, part)


def _is_host(first: str) -> bool:
    return first == "localhost" or "." in first or ":" in first or first != first.lower()


def _check_host(text: str, host: str) -> None:
    host, colon, port = host.partition(":")
    if colon and not (port.isascii() and port.isdigit()):
        _refuse(text, "the port of its registry is not a number")
    for label in host.split("."):
        if not label or label[0] == "-" or label[-1] == "-" or not all(s in LETTERS or s == "-" for s in label):
            _refuse(text, f"{host!r} is not the name of a registry's host")


def _check_part(text: str, part: str) -> None:
    """One component: lower-case letters and digits, joined by ``.``, ``_``, ``__`` or any number of ``-``."""
    if LOWER.issuperset(part) and part:
        return
    if not part:
        _refuse(text, "it has an empty component")
    if part != part.lower():
        _refuse(text, "names of images are in lower case")
    if part[0] not in LOWER or part[-1] not in LOWER:
        _refuse(text, "each component begins and ends with a letter or a digit")
    joint = ""
    for sign in part:
        if sign in LOWER:
            joint = ""
        elif sign in "._-":
            joint += sign
            if joint not in (".", "_", "__") and joint.strip("-"):
                _refuse(text, f"{joint!r} cannot join two parts of a component")
        else:
            _refuse(text, f"{sign!r} cannot be in a name")


def _familiar(name: str) -> str:
    for host in ("docker.io/", "index.docker.io/"):
        if name.startswith(host):
            name = name[len(host) :]
            break
    if name.startswith("library/") and name.count("/") == 1:
        name = name[len("library/") :]
    return name


def _refuse(text: str, reason: str) -> None:
    shown = text if len(text) <= 80 else text[:77] + "…"
    raise BadInput(f"take {shown!r} for the name of an image", reason, _REMEDY)
