"""What a container can do, asked from inside by probe.c: under minirun, under podman, and by the host itself.

`python -m tests.probing` prints the table of docs/security.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests import commoner, peers
from tests.command import Minirun

SOURCE = Path(__file__).with_name("probe.c")
# what Docker's containers have and podman's have not
DOCKERS = ("--cap-add=AUDIT_WRITE", "--cap-add=MKNOD", "--cap-add=NET_RAW")
# podman's --userns auto wants a line of its own in the host's /etc/subuid
PODMANS_MAP = ("--uidmap=0:100000:65536", "--gidmap=0:100000:65536")
KINDS = ("syscall", "socket", "write", "read", "list", "device", "mknod", "open-made")

Answers = dict[tuple[str, str], str]  # (kind, name) → errno's name, ok, or a value


def build(folder: Path) -> Path:
    """Compile the probe; returns the program."""
    program = folder / "probe"
    subprocess.run(["gcc", "-O1", "-static", "-o", program, SOURCE], check=True)
    program.chmod(0o755)
    return program


def parse(printed: str) -> Answers:
    """Read what the probe prints."""
    rows = (line.split(" ", 2) for line in printed.splitlines())
    return {(kind, name): answer for kind, name, answer in rows}


def of_host(program: Path) -> Answers:
    """What the host's kernel answers to root; calls and sockets alone: its devices are not opened for a test."""
    done = subprocess.run([program, "calls"], capture_output=True, text=True, check=True)
    return parse(done.stdout)


def of_podman(program: Path, *flags: str) -> Answers:
    """What podman's container is answered, with Docker's capabilities."""
    with peers.podman() as podman:
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "probe.tar"
            subprocess.run(["tar", "-C", program.parent, "-cf", archive, program.name], check=True)
            image = podman("import", "-q", archive)
        return parse(podman.run("--network=none", *DOCKERS, *flags, image, "/probe"))


def of_minirun(minirun: Minirun, program: Path, *flags: str, image: str | Path = "busybox") -> Answers:
    """What minirun's is."""
    attached = ("-v", f"{program.parent}:/probing:ro")
    done = minirun("run", "--rm", *attached, *flags, image, "/probing/probe", check=True)
    return parse(done.stdout)


def table(columns: dict[str, Answers]) -> str:
    """The answers beside each other, in the form of Markdown; a row for all that have the same."""
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for kind in KINDS:
        rows: dict[tuple[str, ...], list[str]] = {}
        names = dict.fromkeys(name for answers in columns.values() for known, name in answers if known == kind)
        for name in names:
            told = tuple(answers.get((kind, name), "–") for answers in columns.values())
            rows.setdefault(told, []).append(f"`{name}`")
        lines += [f"| {kind} {', '.join(names)} | {' | '.join(told)} |" for told, names in rows.items()]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # whose root has other ids is everybody
        program = build(Path(folder))
        minirun = Minirun(Path(folder) / "root", Path(folder) / "runtime")
        layers = Path("rootfs-fixtures/out/busybox-layers")
        his = commoner.folder()
        own = Minirun(his / "root", his / "runtime", commoner=True)
        columns = {
            "host, root": of_host(program),
            "minirun": of_minirun(minirun, program, image=layers),
            "minirun, `--userns auto`": of_minirun(minirun, program, "--userns=auto", image=layers),
            "minirun, an ordinary user's": of_minirun(own, program, image=layers),
            "podman, Docker's capabilities": of_podman(program),
            "podman, `--uidmap`": of_podman(program, *PODMANS_MAP),
        }
    sys.stdout.write(table(columns) + "\n")


if __name__ == "__main__":
    main()
