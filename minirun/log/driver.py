"""From a container's log driver to the sink that its output goes to.

    json-file   <folder>/<id>-json.log, rotated as the options say
    journald    the journal; and the last 2 MB in <runtime>/log/<id>-json.log, for `attach`
    none        these alone

The options were checked when the container was made.
"""

from __future__ import annotations

from _json import encode_basestring_ascii

from minirun.log import options, packing
from minirun.log.file import LogFile
from minirun.log.sink import Sink
from minirun.log.spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_SHORT_BYTES = 1 << 20
_SHORT_FILES = 2
_SHORT_KEPT = 14  # more files for readers that are slow: they are in memory


class Subject:
    """The container whose log it is.

    Attributes:
        id, name: of it.
        image_name, image_id: of its image.
        labels, env: those that --log-opt labels and env choose from; env as ``NAME=value``.
    """

    __slots__ = ("env", "id", "image_id", "image_name", "labels", "name")

    def __init__(
        self, id: str, name: str, *, image_name: str = "", image_id: str = "",  # noqa: A002 - Docker's word
        labels: Mapping[str, str] | None = None, env: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.id = id
        self.name = name
        self.image_name = image_name
        self.image_id = image_id
        self.labels = labels or {}
        self.env = env


def path(log: Mapping[str, Any], container_id: str, folder: str, runtime: str) -> str:
    """The youngest file of a container's log.

    Args:
        log: of the record: see options.read.
        container_id: its id.
        folder: of logs that stay: home.container(id)/log.
        runtime: of what need not survive a reboot: home.kept(id).
    """
    return f"{folder if log['driver'] == options.DEFAULT else f'{runtime}/log'}/{container_id}-json.log"


def open(  # noqa: A001 - as os.open
    log: Mapping[str, Any], subject: Subject, folder: str, runtime: str,
    told: Callable[[OSError], object] | None = None,
) -> Sink:  # fmt: skip
    """The sink of a container; what a killed process left in the spool is in the log then.

    Args:
        log: of the record: see options.read.
        subject: the container.
        folder: see `path`; made if its parent is there.
        runtime: see `path`; it is there.
        told: called with the reason when output begins to be dropped.

    Raises:
        OSError: EMFILE, ENFILE.
    """
    given = log["options"]
    where = path(log, subject.id, folder, runtime)
    spool = Spool(f"{runtime}/output.spool")
    attributes = chosen(given, subject)
    if log["driver"] == options.DEFAULT:
        if options.compress(given):
            packing.begin(where)  # what a killed process left as it was
        file = LogFile(where, options.max_bytes(given), options.max_files(given), compress=options.compress(given))
        return Sink(file, spool, attributes=_json(attributes), told=told)
    short = LogFile(where, _SHORT_BYTES, _SHORT_FILES, max_kept=_SHORT_KEPT)
    if log["driver"] == "none":
        return Sink(short, spool, told=told)
    from minirun.log.journald import Journal

    return Sink(short, spool, journal=Journal(_fields(given, subject, attributes), told=told), told=told)


def _json(attributes: Mapping[str, str]) -> str:
    """As Docker writes it, without blanks; empty for none."""
    quote = encode_basestring_ascii
    pairs = ",".join(f"{quote(name)}:{quote(value)}" for name, value in attributes.items())
    return f"{{{pairs}}}" if pairs else ""


def chosen(given: Mapping[str, str], subject: Subject) -> dict[str, str]:
    """The labels and variables that --log-opt labels=a,b and env=A,B choose, and the tag if one was given."""
    env = dict(text.partition("=")[::2] for text in subject.env)
    names = [name for name in given.get("labels", "").split(",") if name in subject.labels]
    attributes = {name: subject.labels[name] for name in names}
    attributes |= {name: env[name] for name in given.get("env", "").split(",") if name in env}
    if given.get("tag"):
        attributes["tag"] = _tag(given["tag"], subject)
    return attributes


def _tag(text: str, subject: Subject) -> str:
    image = subject.image_id.removeprefix("sha256:")
    words = {
        "{{.ID}}": subject.id[:12], "{{.FullID}}": subject.id, "{{.Name}}": subject.name,
        "{{.ImageName}}": subject.image_name, "{{.ImageID}}": image[:12], "{{.ImageFullID}}": subject.image_id,
    }  # fmt: skip
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _fields(given: Mapping[str, str], subject: Subject, attributes: Mapping[str, str]) -> dict[str, str]:
    tag = _tag(given.get("tag") or "{{.ID}}", subject)
    fields = {
        "CONTAINER_ID": subject.id[:12], "CONTAINER_ID_FULL": subject.id, "CONTAINER_NAME": subject.name,
        "CONTAINER_TAG": tag, "IMAGE_NAME": subject.image_name, "SYSLOG_IDENTIFIER": tag,
    }  # fmt: skip
    for name, value in attributes.items():
        letters = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name).upper()
        # names that begin so are the journal's own
        if (safe := letters.lstrip("_0123456789")) and safe not in fields and name != "tag":
            fields[safe] = value
    return fields
