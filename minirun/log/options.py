"""--log-driver and --log-opt: where what a container prints is kept, and how much of it.

    json-file   files of the container's directory: max-size=10m max-file=3 compress=false labels= env= tag=
    journald    systemd's journal: labels= env= tag=
    none        nowhere

Values are kept as they were given, for `inspect`; whoever writes the log reads them again. Of journald and none the
last few lines are in files in the runtime directory, so that `attach` has something to follow.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, Unsupported
from minirun.log import journald

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

DEFAULT = "json-file"
DRIVERS = ("json-file", "none", "journald")
_LIMITS = {"max-size": "10m", "max-file": "3", "compress": "false"}
_ATTRIBUTES = ("labels", "env", "tag")
_OPTIONS = {"json-file": (*_LIMITS, *_ATTRIBUTES), "none": (), "journald": _ATTRIBUTES}
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}  # Docker's, for this: powers of ten
_MOST_FILES = 1000
_TAG_WORDS = ("{{.ID}}", "{{.FullID}}", "{{.Name}}", "{{.ImageName}}", "{{.ImageID}}", "{{.ImageFullID}}")


def read(driver: str | None, given: Sequence[str]) -> dict[str, Any]:
    """Read the flags into the option of the record.

    Args:
        driver: of --log-driver.
        given: each of --log-opt.

    Returns:
        driver, options: as they were given, by name.

    Raises:
        BadInput: there is no such driver or option, or a value that it cannot have.
        Unsupported: this host has no journal.
    """
    driver = DEFAULT if driver is None else driver
    if driver not in DRIVERS:
        raise BadInput(f"use --log-driver {driver}", "there is none of that name", f"there are {', '.join(DRIVERS)}")
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        attempt = f"use --log-opt {text}"
        if name not in _OPTIONS[driver]:
            known = ", ".join(_OPTIONS[driver]) or "none"
            raise BadInput(attempt, f"the log driver {driver} has no option {name!r}", f"it has {known}")
        if not equals:
            raise BadInput(attempt, "it has no value", f"write it as --log-opt {name}=VALUE")
        options[name] = value
    _check_tag(options)
    size, count = max_bytes(options), max_files(options)
    if compress(options) and (count < 2 or not size):
        raise BadInput(
            "use --log-opt compress=true", "only files that are rotated are compressed",
            "give max-file of 2 or more, and a max-size",
        )  # fmt: skip
    if driver == "journald" and not os.path.exists(journald.SOCKET):
        raise Unsupported(
            "use --log-driver journald", f"this host has no journal: {journald.SOCKET} is not there",
            "start it: `systemctl start systemd-journald.socket`; or use --log-driver json-file",
        )  # fmt: skip
    return {"driver": driver, "options": options}


def max_bytes(options: Mapping[str, str]) -> int:
    """How long a file of a log may be; 0: as long as it gets."""
    text = options.get("max-size", _LIMITS["max-size"])
    if text == "-1":
        return 0
    number, unit = text.strip().lower().removesuffix("b").strip(), ""
    if number[-1:] in _UNITS:
        number, unit = number[:-1].strip(), number[-1:]
    digits = number.replace(".", "", 1)
    size = int(float(number) * _UNITS[unit]) if digits.isascii() and digits.isdigit() and len(digits) < 16 else 0
    if size <= 0:
        raise BadInput(
            f"use --log-opt max-size={text}", "it is not a number of bytes above 0",
            "write it as Docker does: 500k, 10m, 1g; -1 is no limit",
        )  # fmt: skip
    return size


def max_files(options: Mapping[str, str]) -> int:
    """How many files a log may have, the one that is written included."""
    text = options.get("max-file", _LIMITS["max-file"])
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= _MOST_FILES):
        raise BadInput(f"use --log-opt max-file={text}", f"it is not a whole number from 1 to {_MOST_FILES}")
    return int(text)


def compress(options: Mapping[str, str]) -> bool:
    """Whether files that were rotated are compressed."""
    text = options.get("compress", _LIMITS["compress"]).lower()
    if text not in ("true", "false", "1", "0", "t", "f"):
        raise BadInput(f"use --log-opt compress={text}", "it is true or false")
    return text in ("true", "1", "t")


def _check_tag(options: Mapping[str, str]) -> None:
    text = options.get("tag", "")
    rest = text
    for word in _TAG_WORDS:
        rest = rest.replace(word, "")
    if "{{" in rest or "}}" in rest:
        raise BadInput(
            f"use --log-opt tag={text}", "it has something in braces that a tag cannot have",
            f"it can have {', '.join(_TAG_WORDS)}",
        )  # fmt: skip
