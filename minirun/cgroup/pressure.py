"""Pressure stall information: how long a group's tasks waited for a processor, for memory, for a disk.

    cpu.pressure, memory.pressure, io.pressure
    ------------------------------------------------------------
    some avg10=1.53 avg60=0.87 avg300=0.22 total=1456782        some task waited
    full avg10=0.00 avg60=0.00 avg300=0.00 total=98121          all that were not idle waited, and nothing was done
         per cent of the last 10, 60, 300 s        µs in all

See Documentation/accounting/psi.rst. No controller is needed for it. There is none where the kernel was built without
PSI, was booted with psi=0, or has it off for the group (cgroup.pressure).
"""

from __future__ import annotations

from errno import EINVAL, ENODEV, ENOENT, EOPNOTSUPP

RESOURCES = ("cpu", "memory", "io")
KINDS = ("some", "full")
FIELDS = ("avg10", "avg60", "avg300", "total")

Pressure = dict[str, dict[str, float]]  # some, full → avg10, avg60, avg300 in per cent, total in µs


def read(path: str) -> dict[str, Pressure]:
    """The pressure in the group at *path* by resource, as far as the kernel knows it."""
    found = {}
    for resource in RESOURCES:
        try:
            with open(f"{path}/{resource}.pressure", "rb", 0) as file:
                text = file.readall().decode()
        except OSError as error:
            if error.errno in (ENOENT, ENODEV, EOPNOTSUPP, EINVAL):
                continue  # no PSI, or the group is gone
            raise
        found[resource] = {line.split()[0]: _fields(line.split()[1:]) for line in text.splitlines()}
    return found


def _fields(words: list[str]) -> dict[str, float]:
    pairs = (word.split("=") for word in words)
    return {name: int(text) if name == "total" else float(text) for name, text in pairs}
