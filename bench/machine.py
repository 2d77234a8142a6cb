"""What a result is worth nothing without: the machine, the kernel, the versions, and how busy it was."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

from bench.scratch import PLACE

_PROGRAMS = ("runc", "crun", "podman", "dockerd", "umoci", "skopeo", "bwrap", "tar", "gzip", "iperf3")


def facts(minirun: Path, checkout: Path) -> list[tuple[str, str]]:
    """Name and value of each, in the order of the table."""
    processor = _field(Path("/proc/cpuinfo"), "model name", ":") or platform.machine()
    memory_kb = int((_field(Path("/proc/meminfo"), "MemTotal", ":") or "0").split()[0])
    system = _field(Path("/etc/os-release"), "PRETTY_NAME", "=").strip('"')
    return [
        ("date", datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("machine", f"{os.cpu_count()} processors ({processor}), {memory_kb / 1e6:.0f} GB of memory"),
        ("kernel", f"Linux {platform.release()}, cgroups: {_cgroups()}"),
        ("system", system),
        ("file system", f"a new ext4 in a file on {_file_system(PLACE)}"),
        ("load when it began", f"{os.getloadavg()[0]:.2f}"),
        ("minirun", f"{_first_line(minirun, '--version')} at {_commit(checkout)}"),
        ("python", _first_line(minirun.read_text().partition("\n")[0].removeprefix("#!").split()[0], "--version")),
        *((name, _first_line(name, "--version")) for name in _PROGRAMS),
    ]


def _field(path: Path, name: str, separator: str) -> str:
    for line in path.read_text().splitlines():
        key, found, value = line.partition(separator)
        if found and key.strip() == name:
            return value.strip()
    return ""


def _first_line(program: str | Path, *arguments: str) -> str:
    try:
        said = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=20)
    except FileNotFoundError:
        return "not installed"
    return (said.stdout.strip() or said.stderr.strip() or "?").splitlines()[0]


def _commit(checkout: Path) -> str:
    # the checkout may belong to whoever called sudo, and git asks whether that is meant
    git = ("git", "-c", f"safe.directory={checkout}", "-C", f"{checkout}")
    commit = _first_line(*git, "rev-parse", "--short", "HEAD")
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "minirun"], capture_output=True, check=False)
    return f"{commit}, and changes since" if changed.returncode == 1 else commit


def _cgroups() -> str:
    types = {line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()} & {"cgroup", "cgroup2"}
    return {frozenset({"cgroup"}): "v1", frozenset({"cgroup2"}): "v2"}.get(frozenset(types), "v1 and v2 (hybrid)")


def _file_system(path: Path) -> str:
    best, kind = "", "?"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, target, a_kind, *_ = line.split()
        if f"{path}/".startswith(target.rstrip("/") + "/") and len(target) >= len(best):
            best, kind = target, a_kind
    return kind
