"""What a real reboot makes of containers: prepared before it, looked at after it; vagrant/test has it in between.

    python -m tests.vm.reboot before    install the unit, start containers
    python -m tests.vm.reboot after     say what is not as it should be; the status is 1 then

It takes the machine's own store, as somebody would who works there, and removes every container of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MINIRUN = Path(__file__).resolve().parents[2] / ".venv/bin/minirun"
LAYERS = Path(__file__).resolve().parents[2] / "rootfs-fixtures/out/busybox-layers"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BEFORE = Path("/var/lib/minirun-reboot.json")
PATIENCE_S = 120.0
# {0}: what it wants to be asked by, {1}: by what systemd ends a scope, {2}: how many tenths of a second it takes to end
LISTENS = (
    "trap 'i=0; while [ $i -lt {2} ]; do sleep 0.1; i=$((i+1)); done; echo asked; exit 0' {0}; "
    "trap 'echo ended by another; exit 9' {1}; echo up; while :; do sleep 0.1; done"
)
OBEYS = LISTENS.format("TERM", "HUP", 0)
PREFERS_USR1 = LISTENS.format("USR1", "TERM", 0)
SLOW = LISTENS.format("USR1", "TERM", 120)  # longer than systemd would wait for a scope: see cgroup/systemd.py
USR1 = ("--stop-signal", "USR1")
LIMITS = ("--memory", "64m", "--pids-limit", "20")

# name → (flags, command, what it is after the reboot, its exit code then, what it had printed before)
BOXES: dict[str, tuple[tuple[str, ...], str, str, int | None, str]] = {
    "always": (("--restart", "always"), OBEYS, "running", None, "up asked"),
    "unless": (("--restart", "unless-stopped", *USR1), PREFERS_USR1, "running", None, "up asked"),
    "job": (("--restart", "on-failure:2"), OBEYS, "running", None, "up asked"),
    "never": (USR1, PREFERS_USR1, "exited", 0, "up asked"),
    "deaf": (("--stop-timeout", "2"), "trap '' TERM; echo up; while :; do sleep 0.1; done", "exited", 137, "up"),
    "gone": (("--rm",), OBEYS, "", None, ""),
    "again": (("--restart", "always"), OBEYS, "running", None, "up asked"),
    "stopped": (("--restart", "unless-stopped"), OBEYS, "exited", 0, "up asked"),
    "limited": (("--restart", "always", *USR1, *LIMITS), PREFERS_USR1, "running", None, "up asked"),
    "limited-never": ((*USR1, *LIMITS), PREFERS_USR1, "exited", 0, "up asked"),
    "limited-slow": (("--stop-timeout", "60", *USR1, *LIMITS), SLOW, "exited", 0, "up asked"),
}  # fmt: skip
ENDED_BY_A_PERSON = ("again", "stopped")


def minirun(*words: str, check: bool = True) -> str:
    """Run it, and return what it prints."""
    done = subprocess.run([MINIRUN, *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"minirun {' '.join(words)}: status {done.returncode}\n{done.stderr}")
    return done.stdout


def state(name: str) -> dict[str, Any]:
    """What `inspect` tells of a container's state; empty if there is none."""
    found: dict[str, Any] = json.loads(minirun("inspect", "-f", "{{json .State}}", name, check=False) or "{}")
    return found


def before() -> None:
    """Start what is to be looked at afterwards."""
    clear()
    minirun("import", str(LAYERS), "busybox")
    minirun("system", "install-unit")
    for name, (flags, command, *_) in BOXES.items():
        minirun("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", command)
    minirun("create", "--name", "made", "--restart", "always", "busybox", "true")
    end = time.monotonic() + PATIENCE_S
    while not all("up" in minirun("logs", name) for name in BOXES):
        if time.monotonic() > end:
            raise SystemExit("they do not begin")
        time.sleep(0.5)
    minirun("stop", *ENDED_BY_A_PERSON)
    scopes = subprocess.run(
        ["systemctl", "list-units", "--no-legend", "minirun-*.scope"], capture_output=True, text=True, check=True
    ).stdout.count("minirun-")
    if scopes != sum(LIMITS[0] in flags for flags, *_ in BOXES.values()):
        raise SystemExit(f"there are {scopes} scopes")
    BEFORE.write_text(json.dumps({"boot": BOOT_ID.read_text(), "down": time.time()}))


def after() -> list[str]:
    """What is not as it should be."""
    was = json.loads(BEFORE.read_text())
    faults = ["the machine has not booted"] if was["boot"] == BOOT_ID.read_text() else []
    active = subprocess.run(["systemctl", "is-active", "minirun.service"], capture_output=True, text=True, check=False)
    if active.stdout.strip() != "active":
        faults.append(f"minirun.service is {active.stdout.strip()}")
    for name, (_, _, status, code, printed) in BOXES.items():
        now = state(name)
        if now.get("Status", "") != status:
            faults.append(f"{name} is {now.get('Status')!r} and not {status!r}")
        elif code is not None and now["ExitCode"] != code:
            faults.append(f"{name} has exited with {now['ExitCode']} and not {code}")
        if status and not " ".join(minirun("logs", name).split()).startswith(printed):
            faults.append(f"{name} has printed {minirun('logs', name)!r}")
    if state("made").get("Status") != "created":
        faults.append(f"made is {state('made')}")
    return faults


def clear() -> None:
    """Remove every container and the unit."""
    if boxes := minirun("ps", "-aq").split():
        minirun("rm", "-f", *boxes)
    minirun("system", "install-unit", "--remove")
    BEFORE.unlink(missing_ok=True)


def main() -> int:
    """Do what the command line says."""
    if sys.argv[1:] == ["before"]:
        before()
        return 0
    if sys.argv[1:] == ["after"]:
        faults = after()
        sys.stdout.write("".join(f"{fault}\n" for fault in faults))
        clear()
        return 1 if faults else 0
    sys.stderr.write("usage: python -m tests.vm.reboot before|after\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
