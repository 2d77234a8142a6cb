"""A container's health check: what --health-cmd and the image's HEALTHCHECK ask for, and what came of it.

    record   options["health"]       {"test": ["CMD-SHELL", "wget -q localhost"], "interval": 30.0, "timeout": 30.0,
                                      "retries": 3, "start_period": 0.0, "start_interval": 5.0, "on_failure": "none"}
                                     seconds; {"test": ["NONE"]}: what the image has is not wanted
    results  <runtime>/containers/<id>/health    while it runs
             containers/<id>/health.json         the last of the time before

    starting ──exit code 0──▶ healthy ◀──0── unhealthy         failures within the start period are not counted
        └────retries failures in a row─────────▲

The words, defaults and rules are Docker's: docs.docker.com/reference/dockerfile, HEALTHCHECK. `on_failure` is podman's.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput
from minirun.kernel import files, jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home

NONE = ["NONE"]
DEFAULTS: dict[str, Any] = {
    "interval": 30.0, "timeout": 30.0, "retries": 3, "start_period": 0.0, "start_interval": 5.0, "on_failure": "none",
}  # fmt: skip
ACTIONS = ("none", "kill", "restart", "stop")
STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
RESULTS = 5
_TIMES = ("interval", "timeout", "start_period", "start_interval")
_LEAST_S = 0.001  # Docker's
_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60 * 10**9, "h": 3600 * 10**9}


class Result:
    """How one check ended; the attributes are the keys in the file.

    Attributes:
        start, end: seconds since 1970.
        exit_code: of the command; -1 if it could not begin, or did not end in time.
        output: the first 4096 bytes of what it printed.
    """

    __slots__ = ("end", "exit_code", "output", "start")

    def __init__(self, start: float, end: float, exit_code: int, output: str) -> None:
        self.start = start
        self.end = end
        self.exit_code = exit_code
        self.output = output


class Health:
    """What is known of a container's health.

    Attributes:
        status: STARTING, HEALTHY or UNHEALTHY.
        streak: how many checks have failed since one did not.
        log: the last RESULTS.
    """

    __slots__ = ("log", "status", "streak")

    def __init__(self, status: str = STARTING, streak: int = 0, log: list[dict[str, Any]] | None = None) -> None:
        self.status = status
        self.streak = streak
        self.log = [Result(**fields) for fields in log or ()]

    def to_json(self) -> dict[str, Any]:
        """The attributes, as the file has them."""
        log = [{name: getattr(result, name) for name in Result.__slots__} for result in self.log]
        return {"status": self.status, "streak": self.streak, "log": log}

    def take(self, result: Result, check: Mapping[str, Any], started: float) -> bool:
        """Take the result of a check of a container that runs since *started*; whether its status is another now."""
        before = self.status
        self.log = [*self.log, result][-RESULTS:]
        if result.exit_code == 0:
            self.streak, self.status = 0, HEALTHY
        elif before != STARTING or result.start - started >= check["start_period"]:
            self.streak += 1
            if self.streak >= check["retries"]:
                self.status = UNHEALTHY
        return self.status != before


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the flags into what `complete` makes a health check of.

    Raises:
        BadInput: a value has no meaning, or they contradict each other.
    """
    given: dict[str, Any] = {}
    if (command := flags.get("health-cmd")) is not None:
        given["test"] = _test(command)
    for name in _TIMES:
        if (text := flags.get(flag := f"health-{name.replace('_', '-')}")) is not None:
            given[name] = seconds(f"--{flag}", text)
    if (text := flags.get("health-retries")) is not None:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise BadInput(f"use --health-retries {text}", "it is not a number of failures")
        given["retries"] = int(text)
    if (action := flags.get("health-on-failure")) is not None:
        if action not in ACTIONS:
            raise BadInput(f"use --health-on-failure {action}", f"there are {', '.join(ACTIONS)}")
        given["on_failure"] = action
    if flags.get("no-healthcheck"):
        if given:
            raise BadInput("use --no-healthcheck", "it contradicts the other flags of a health check", "leave one out")
        return {"health": {"test": NONE}}
    return {"health": given} if given else {}


def _test(command: str) -> list[str]:
    if command in ("none", ""):
        return NONE
    if not command.startswith("["):
        return ["CMD-SHELL", command]
    try:  # podman's: words, as an image has them
        words = jsonfile.loads(command)
        if words and all(isinstance(word, str) for word in words):
            return words if words[0] in ("CMD", "CMD-SHELL", "NONE") else ["CMD", *words]
    except ValueError:
        pass
    raise BadInput(
        f"use --health-cmd {command}", "it begins like a JSON array, and is none of strings", '["CMD", "true"] is one'
    )


def seconds(flag: str, text: str) -> float:
    """Read a length of time as Go writes it, ``1m30s``, ``500ms``; 0 stands for the default.

    Raises:
        BadInput: it is none, or less than a millisecond.
    """
    total, rest = 0.0, text
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµmsh"))]
        rest = rest[len(unit) :]
        if unit not in _NS or number.count(".") > 1 or not number.strip("."):
            total = -1
            break
        total += float(number) * _NS[unit] / 1e9
    if text == "0":
        total = 0.0
    if not text or total < 0 or 0 < total < _LEAST_S or total > 1e9:
        raise BadInput(
            f"use {flag} {text}", "it is not a length of time", "write 30s, 1m30s or 500ms; 1ms is the least"
        )
    return total


def complete(options: dict[str, Any], of_image: Mapping[str, Any] | None) -> None:
    """Put together what the flags ask for and what the image has; a container that has no check has no key ``health``.

    Raises:
        BadInput: there are flags and nothing to check with, or what the image has cannot be understood.
    """
    given: dict[str, Any] | None = options.pop("health", None)
    if given is not None and given.get("test") == NONE:
        if len(given) > 1:
            raise BadInput("use --health-cmd none", "it contradicts the other flags of a health check")
        options["health"] = {"test": NONE}
        return
    image = _of_image(of_image or {})
    # 0 stands for what the image has, and a 0 there for the default
    found = {**DEFAULTS, **_told(image), **_told(given or {})}
    if found.get("test"):
        options["health"] = found
    elif given is not None:
        raise BadInput(
            "check the container's health", "there is nothing to check with: the image has no HEALTHCHECK",
            "give --health-cmd COMMAND",
        )  # fmt: skip


def _told(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _of_image(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The image's ``Healthcheck``, in which times are in nanoseconds."""
    test = raw.get("Test") or []
    if test == NONE:
        return {}
    numbers = {"retries": raw.get("Retries") or 0}
    for name in _TIMES:
        numbers[name] = raw.get(name.title().replace("_", "")) or 0
    understood = isinstance(test, list) and all(isinstance(word, str) for word in test)
    if not understood or (test and (test[0] not in ("CMD", "CMD-SHELL") or len(test) < 2)):
        raise _strange(f"{test!r} is no test")
    for name, number in numbers.items():
        if not isinstance(number, int) or not 0 <= number < 1 << 62:
            raise _strange(f"{number!r} is no number for its {name}")
    return {"test": test, "retries": numbers.pop("retries"), **{name: value / 1e9 for name, value in numbers.items()}}


def _strange(reason: str) -> BadInput:
    return BadInput("understand the image's HEALTHCHECK", reason, "--no-healthcheck runs it without")


def of(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """A container's check, every key set; None if it has none."""
    check: dict[str, Any] | None = options.get("health")
    return None if check is None or check["test"] == NONE else check


def described(options: Mapping[str, Any]) -> dict[str, Any]:
    """The check as Docker's JSON and an image's config have it; empty where nothing was said of one."""
    check = options.get("health")
    if check is None:
        return {}
    if check["test"] == NONE:
        return {"Test": NONE}
    times = {name.title().replace("_", ""): round(check[name] * 1e9) for name in _TIMES}
    return {"Test": check["test"], **times, "Retries": check["retries"]}


def due(check: Mapping[str, Any], started: float, found: Health, now: float) -> float:
    """In how many seconds the next check begins, of a container that runs since *started*."""
    return (found.log[-1].end if found.log else started) + pause(check, started, found, now) - now


def pause(check: Mapping[str, Any], started: float, found: Health, now: float) -> float:
    """How many seconds there are between two checks at this time of a container's life."""
    young = found.status == STARTING and now - started < check["start_period"]
    return float(check["start_interval"] if young else check["interval"])


def path(home: Home, container_id: str) -> str:
    """The file with the results, while it runs."""
    return f"{home.kept(container_id)}/health"


def load(home: Home, container_id: str) -> Health:
    """What is known of the health of a container that runs."""
    return _load(path(home, container_id))


def _load(name: str) -> Health:
    try:
        return Health(**jsonfile.read(name))
    except (OSError, ValueError, TypeError):
        return Health()


def save(home: Home, container_id: str, found: Health) -> None:
    """Write down what is known of the health of a container that runs."""
    try:
        files.replace(path(home, container_id), jsonfile.dumps(found.to_json()).encode(), durable=False)
    except FileNotFoundError:
        pass  # it was removed


def keep(home: Home, container_id: str) -> None:
    """Keep the results of a container whose runtime directory goes."""
    try:
        with open(path(home, container_id), "rb") as file:
            data = file.read()
        files.replace(f"{home.container(container_id)}/health.json", data, durable=False)
    except FileNotFoundError:
        pass  # it ended before the first check; or it was removed


def now(home: Home, box: Record, state: State) -> Health | None:
    """The health of a container; None if it has no check. One that does not run is not healthy, as Docker has it."""
    if of(box.options) is None:
        return None
    if state.alive:
        return load(home, box.id)
    found = _load(f"{home.container(box.id)}/health.json") if os.path.isdir(home.container(box.id)) else Health()
    if state.status != "created":
        found.status = UNHEALTHY
    return found
