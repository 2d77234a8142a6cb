"""AppArmor: a profile of the host's, by which the kernel confines a container beside everything else.

    apparmor_parser -r FILE ─▶ the kernel knows PROFILE ─▶ --security-opt apparmor=PROFILE

    /sys/module/apparmor/parameters/enabled     Y, where it is the kernel's
    /sys/kernel/security/apparmor/profiles      "PROFILE (enforce)", a line each
    /proc/self/attr/apparmor/exec               "exec PROFILE": taken on at the next exec; see security/labels.py

minirun loads no profile and has none by default. See apparmor(7), apparmor_parser(8).
"""

from __future__ import annotations

from minirun.errors import BadInput, Unsupported

_ENABLED = "/sys/module/apparmor/parameters/enabled"
_PROFILES = "/sys/kernel/security/apparmor/profiles"
ATTRIBUTE = "attr/apparmor/exec"


def check(profile: str) -> None:
    """See that a profile can be taken on.

    Raises:
        Unsupported: this kernel has no AppArmor, or it is off.
        BadInput: no such profile is loaded.
    """
    attempt = f"use --security-opt apparmor={profile}"
    if not profile.isprintable():
        raise BadInput(attempt, "that is no name of a profile")
    if not enabled():
        raise Unsupported(
            attempt, "AppArmor is not enabled on this host",
            "leave it out; `cat /sys/kernel/security/lsm` says which security modules there are",
        )  # fmt: skip
    try:
        with open(_PROFILES, encoding="utf-8", errors="surrogateescape") as file:
            loaded = {line.rpartition(" (")[0] for line in file}
    except OSError:
        return  # securityfs is not mounted: the kernel will say whether it knows it
    if profile not in loaded:
        raise BadInput(
            attempt, "no profile of that name is loaded", "`apparmor_parser -r FILE` loads one; `aa-status` lists them"
        )


def enabled() -> bool:
    """Whether the kernel has it, and it is on."""
    try:
        with open(_ENABLED) as file:
            return file.read(1) == "Y"
    except OSError:
        return False
