"""The start of /bin/true in a container, to its end and removal; and what each contestant's container really is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers, report
from bench.contest import Contestant, Failure, Outcome, Stage
from bench.island import Island
from bench.scratch import Scratch

WARM_UPS = 3
MINIRUN = "minirun run --rm, stored image"
DIRECTORY = "minirun run --rm, directory of layers"
RUNC = "runc run"
CRUN = "crun run"
PODMAN = "podman run --rm"
DOCKER = "docker run --rm"
BUBBLEWRAP = "bubblewrap"
INTERPRETER = "the interpreter alone"
TARGETS = ((RUNC, 0.55), (CRUN, 0.9), (PODMAN, 1 / 10), (DOCKER, 1 / 15))

# Prints one property a line; run by each contestant in a container, since a promise is no isolation.
PROBE = r"""
for kind in cgroup ipc mnt net pid uts; do echo "$kind=$(readlink /proc/self/ns/$kind)"; done
grep -E '^(CapBnd|Seccomp):' /proc/self/status
echo "pid=$$"
echo "links=$(grep -c : /proc/net/dev)"
echo "layer=$(ls /etc/layer-4)"
echo "root=$(awk '$2 == "/" { type = $3 } END { print type }' /proc/mounts)"
masked=0
for path in %s; do grep -q " $path " /proc/mounts && masked=$((masked + 1)); done
echo "masked=$masked"
"""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a probe found in a container."""

    namespaces: int  # of the six kinds, those that are not the host's
    capabilities: int
    seccomp: bool
    masked: int  # paths of /proc and /sys that are hidden or read-only
    overlay: bool  # its root is an overlay made for it

    def cells(self) -> list[str]:
        """It as cells of a table."""
        yes = {True: "yes", False: "no"}
        return [
            f"{self.namespaces}", f"{self.capabilities}", yes[self.seccomp], f"{self.masked}", yes[self.overlay],
        ]  # fmt: skip


def contest(
    minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]
) -> tuple[Outcome, dict[str, Isolation]]:
    """Run it, on a network of its own: docker's daemon makes a bridge and rules in it.

    Returns:
        The outcome, and for each contestant with a container what it is.
    """
    docker = peers.Docker(scratch, "start-docker")
    with Island():
        try:
            return _contest(minirun, scratch, stage, rounds, tell, docker)
        finally:
            docker.stop()


def _contest(
    minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None], docker: peers.Docker
) -> tuple[Outcome, dict[str, Isolation]]:
    commands, environments, left_out = _prepare(minirun, scratch, stage, docker)
    found: dict[str, Isolation] = {}
    hidden = (*peers.MASKED, *peers.READ_ONLY)
    answer = scratch.path / "probe"
    for name, command in commands.items():
        tell(f"looking into the container of {name}")
        try:
            stage.run(command(-1, ["/bin/sh", "-c", PROBE % " ".join(hidden)]), environments.get(name, {}), answer)
            found[name] = _read(answer.read_text())
        except (Failure, OSError) as failure:
            left_out[name] = str(failure)

    def starting(name: str) -> Callable[[int], Sequence[str | Path]]:
        return lambda number: commands[name](number, ["/bin/true"])

    contestants = [
        Contestant(name=name, command=starting(name), environment=environments.get(name, {})) for name in found
    ]
    if MINIRUN in found:
        python = minirun.read_text().partition("\n")[0].removeprefix("#!").split()
        contestants.append(Contestant(name=INTERPRETER, command=lambda _number: [*python, "-c", "pass"]))
    outcome = stage.compete(contestants, rounds, WARM_UPS, tell=tell)
    outcome.left_out.update(left_out)
    outcome.require(MINIRUN)
    return outcome, found


Command = Callable[[int, Sequence[str]], Sequence[str | Path]]


def _prepare(
    minirun: Path, scratch: Scratch, stage: Stage, docker: peers.Docker
) -> tuple[dict[str, Command], dict[str, dict[str, str]], dict[str, str]]:
    # contestant → (round, arguments in the container) → command line; contestant → variables; contestant → why not
    commands: dict[str, Command] = {}
    environments: dict[str, dict[str, str]] = {}
    left_out: dict[str, str] = {}
    layers = scratch.folder("image")
    peers.write_layers(layers)
    ours = {"MINIRUN_ROOT": f"{scratch.path}/minirun", "MINIRUN_RUNTIME": f"{scratch.path}/minirun-runtime"}
    stage.run([minirun, "import", layers, "bench"], ours)
    run = (minirun, "run", "--rm", "--network", "none")
    commands[MINIRUN] = lambda _number, arguments: [*run, "bench", *arguments]
    commands[DIRECTORY] = lambda _number, arguments: [*run, layers, *arguments]
    environments[MINIRUN] = environments[DIRECTORY] = ours

    layout = scratch.path / "image-oci"
    try:
        peers.write_oci(stage, sorted(layers.iterdir()), layout)
        stage.run(["umoci", "unpack", "--image", f"{layout}:bench", scratch.path / "unpacked"], {})
    except (Failure, OSError) as failure:
        missing = (RUNC, CRUN, PODMAN, DOCKER, BUBBLEWRAP)
        return commands, environments, left_out | dict.fromkeys(missing, f"umoci: {failure}")
    root = scratch.path / "unpacked" / "rootfs"

    def of_bundle(runtime: str) -> Command:
        state = scratch.folder(f"{runtime}-state")

        def command(number: int, arguments: Sequence[str]) -> Sequence[str | Path]:
            bundle = scratch.path / f"{runtime}-{'true' if arguments == ['/bin/true'] else 'probe'}"
            if not bundle.exists():
                peers.write_bundle(root, bundle, arguments, filter_devices=peers.may_filter_devices(runtime))
            return [runtime, "--root", state, "run", "--bundle", bundle, f"minirun-bench-{os.getpid()}-{number}"]

        return command

    commands[RUNC] = of_bundle("runc")
    commands[CRUN] = of_bundle("crun")

    podman = peers.Podman(scratch, "podman")
    environments[PODMAN] = podman.environment
    try:
        identity = podman.pull(stage, layout)
        commands[PODMAN] = lambda _number, arguments: podman.run("--rm", identity, *arguments)
    except (Failure, OSError) as failure:
        left_out[PODMAN] = str(failure)

    try:
        docker.start(stage)
        docker.load(stage, layout)
        commands[DOCKER] = lambda _number, arguments: docker.run("--network=none", "bench", *arguments)
    except (Failure, OSError) as failure:
        left_out[DOCKER] = str(failure)

    namespaces = [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts", "cgroup")]
    commands[BUBBLEWRAP] = lambda _number, arguments: [
        "bwrap", *namespaces, "--as-pid-1", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev",
        "--ro-bind", "/sys", "/sys", "--", *arguments,
    ]  # fmt: skip
    return commands, environments, left_out


def _read(text: str) -> Isolation:
    """What the probe printed.

    Raises:
        Failure: this is not the container that was asked for.
    """
    lines = [line.replace(":\t", "=").partition("=") for line in text.splitlines()]
    said = {name: value for name, equals, value in lines if equals}
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
    own = sum(os.readlink(f"/proc/self/ns/{kind}") != said.get(kind) for kind in kinds)  # noqa: PTH115 - no file's path
    wanted = {"pid": "1", "links": "1", "layer": "/etc/layer-4"}
    for name, value in wanted.items():
        if said.get(name) != value:
            raise Failure(f"its container has {name} {said.get(name)!r} instead of {value!r}")
    return Isolation(
        namespaces=own,
        capabilities=int(said["CapBnd"], 16).bit_count(),
        seccomp=said["Seccomp"] != "0",
        masked=int(said["masked"]),
        overlay=said["root"] == "overlay",
    )


def part(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> report.Part:
    """Start containers: its section of the results."""
    outcome, found = contest(minirun, scratch, stage, rounds, tell)
    hidden = len(peers.MASKED) + len(peers.READ_ONLY)
    head = [
        "",
        "own namespaces of 6",
        "capabilities",
        "seccomp filter",
        f"hidden or read-only paths of {hidden}",
        "overlay",
    ]
    isolation = report.table(head, [[name, *what.cells()] for name, what in found.items()])
    text = f"""## Start: `/bin/true` in a container of an image of {peers.LAYERS} layers, no network, {rounds} rounds

{report.times(outcome, MINIRUN, 1e-3, "ms")}
{report.targets(outcome, MINIRUN, TARGETS)}
What each container was, found by a look from inside:

{isolation}
minirun, podman and docker make the overlay, the container's directory and its record, and remove them. runc and crun
get a bundle with Docker's defaults, and its root ready-made: one directory, no overlay to mount, nothing to store.
All that take one have the same filter of system calls, minirun's. podman runs without log, events and a group for its
monitor, by way of runc; docker's daemon was there before, and keeps no log. bubblewrap neither drops capabilities,
nor hides paths, nor makes a cgroup, nor filters: it is the floor. The interpreter alone is the part of minirun's time
in which nothing of minirun runs. Where the host mixes cgroup v1 and v2, all of them see v2 alone; where locked memory
is limited and cannot be raised, crun filters no devices, or it would not run.
"""
    return report.Part(text, report.short(outcome, "start `/bin/true`", 1e-3, "ms"), report.samples(outcome))
