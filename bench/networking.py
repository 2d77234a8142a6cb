"""Containers on networks: what the default bridge adds to a start, beside many others, and what goes through it.

start       /bin/true without a network, on the default bridge, and on podman's and docker's
crowd       a container on a network by itself, and on one with MANY others
throughput  iperf3 between two containers, and between two namespaces on a bridge that was made by hand
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import peers, report
from bench.contest import Contestant, Failure, Outcome, Stage, quartiles
from bench.island import Island
from bench.scratch import Scratch

WARM_UPS = 2
NONE = "minirun run --rm --network none"
BRIDGE = "minirun run --rm, the default bridge"
OWN = "minirun run --rm, a network with names"
PODMAN = "podman run --rm, its bridge"
DOCKER = "docker run --rm, its bridge"
TARGETS = ((PODMAN, 1 / 15), (DOCKER, 1 / 10))
OVER_NONE_MS = 6.0
MANY, ENDS = 200, 20
ALONE, CROWD = "on a network by itself", f"on one with {MANY} others"
FLOWS, FLOW_S = 9, 2
WITHIN = 0.05  # of the throughput of a bridge that was made by hand
_BUSYBOX = "/bin/busybox"
_PROBE = (
    f"{_BUSYBOX} ip -o -4 address show dev eth0 | {_BUSYBOX} grep -q inet"
    f" && {_BUSYBOX} ip route | {_BUSYBOX} grep -q ^default && echo connected"
)

Words = Sequence[str | Path]


class Networked:
    """What was found.

    Attributes:
        starts: by the clock.
        crowd: ALONE and CROWD.
        first_ms, last_ms: medians of the first and the last ENDS of MANY `run -d` on one bridge.
        flows: Gbit/s of each round: (containers, by hand).
    """

    def __init__(self) -> None:
        self.starts = Outcome({}, {})
        self.crowd = Outcome({}, {})
        self.first_ms = self.last_ms = 0.0
        self.flows: list[tuple[float, float]] = []
        self.no_flows = ""

    def over_none_ms(self) -> tuple[float, float, float]:
        """What the bridge adds, round by round: first quartile, median, third quartile."""
        none, bridge = self.starts.wall_s(NONE), self.starts.wall_s(BRIDGE)
        low, middle, high = quartiles([b - a for a, b in zip(none, bridge, strict=True)])
        return low * 1e3, middle * 1e3, high * 1e3


def contest(
    minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]
) -> Networked:  # fmt: skip
    """Run it, on a network of its own."""
    found = Networked()
    ours = {"MINIRUN_ROOT": f"{scratch.path}/net-minirun", "MINIRUN_RUNTIME": f"{scratch.path}/net-runtime"}
    layers = scratch.folder("net-image")
    peers.write_layers(layers)
    with Island():
        stage.run([minirun, "import", layers, "bench"], ours)
        docker = peers.Docker(scratch, "net-docker")
        try:
            _starts(minirun, scratch, stage, rounds, tell, found, ours, docker)
        finally:
            docker.stop()
        _crowd(minirun, stage, rounds, tell, found, ours)
        try:
            _flows(minirun, scratch, stage, tell, found, ours)
        except (Failure, OSError, ValueError, KeyError) as failure:
            found.no_flows = str(failure)
        # who answers for their names ends with them, and without that a minute later
        stage.leave_running([minirun, "network", "rm", "own", "alone", "crowd"], ours)
    return found


def _starts(
    minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None], found: Networked,
    ours: dict[str, str], docker: peers.Docker,
) -> None:  # fmt: skip
    stage.leave_running([minirun, "network", "create", "own"], ours)
    commands: dict[str, Callable[[Words], Words]] = {
        NONE: lambda words: [minirun, "run", "--rm", "--network", "none", "bench", *words],
        BRIDGE: lambda words: [minirun, "run", "--rm", "--network", "bridge", "bench", *words],
        OWN: lambda words: [minirun, "run", "--rm", "--network", "own", "bench", *words],
    }
    environments = dict.fromkeys(commands, ours)
    left_out: dict[str, str] = {}
    layout = scratch.path / "net-oci"
    podman = peers.Podman(scratch, "net-podman")
    with (podman.root / "containers.conf").open("a") as settings:
        settings.write(f'[network]\nnetwork_config_dir = "{podman.root}/networks"\n')
    try:
        peers.write_oci(stage, sorted((scratch.path / "net-image").iterdir()), layout)
        identity = podman.pull(stage, layout)
        commands[PODMAN] = lambda words: podman.run("--rm", identity, *words, network="bridge")
        environments[PODMAN] = podman.environment
    except (Failure, OSError) as failure:
        left_out[PODMAN] = str(failure)
    try:
        docker.start(stage)
        docker.load(stage, layout)
        commands[DOCKER] = lambda words: docker.run("bench", *words)
        environments[DOCKER] = {}
    except (Failure, OSError) as failure:
        left_out[DOCKER] = str(failure)
    contestants = []
    for name, command in commands.items():
        tell(f"looking into the container of {name}")
        try:
            if name != NONE:
                _check_connected(stage, command([_BUSYBOX, "sh", "-c", _PROBE]), environments[name], scratch)
        except (Failure, OSError) as failure:
            left_out[name] = str(failure)
            continue
        words = command(["/bin/true"])
        contestants.append(_contestant(name, words, environments[name]))
    found.starts = stage.compete(contestants, rounds, WARM_UPS, leave=True, tell=tell)
    found.starts.left_out.update(left_out)
    found.starts.require(NONE)
    found.starts.require(BRIDGE)


def _contestant(name: str, words: Words, environment: dict[str, str]) -> Contestant:
    return Contestant(name=name, command=lambda _round: words, environment=environment)


def _check_connected(stage: Stage, words: Words, environment: dict[str, str], scratch: Scratch) -> None:
    answer = scratch.path / "net-answer"
    stage.leave_running(words, environment, answer)
    if answer.read_text().strip() != "connected":
        raise Failure("its container has no address, or no way out")


def _crowd(
    minirun: Path, stage: Stage, rounds: int, tell: Callable[[str], None], found: Networked, ours: dict[str, str]
) -> None:
    for name in ("alone", "crowd"):
        stage.leave_running([minirun, "network", "create", name], ours)
    names = [f"crowd-{number}" for number in range(MANY)]
    sleep = ("bench", _BUSYBOX, "sleep", "100000")
    times = []
    try:
        for number, name in enumerate(names):
            if number % 20 == 0:
                tell(f"starting {MANY} containers: {number}")
            words: Words = [minirun, "run", "-d", "--name", name, "--network", "crowd", *sleep]
            times.append(stage.leave_running(words, ours).wall_s * 1e3)
        found.first_ms, found.last_ms = quartiles(times[:ENDS])[1], quartiles(times[-ENDS:])[1]
        contestants = [
            _contestant(name, [minirun, "run", "--rm", "--network", network, "bench", "/bin/true"], ours)
            for name, network in ((ALONE, "alone"), (CROWD, "crowd"))
        ]
        found.crowd = stage.compete(contestants, rounds, WARM_UPS, leave=True, tell=tell)
    finally:
        every: Words = [minirun, "rm", "-f", *names]
        stage.leave_running(every, ours)


def _flows(
    minirun: Path, scratch: Scratch, stage: Stage, tell: Callable[[str], None], found: Networked, ours: dict[str, str]
) -> None:
    """iperf3 by turns through both bridges; who is first changes every round."""
    image = scratch.folder("net-iperf3")
    _write_iperf3(image / "00-iperf3.tar")
    stage.run([minirun, "import", image, "iperf3"], ours)
    server: Words = [minirun, "run", "-d", "--name", "server", "--network", "bridge", "iperf3", "/usr/bin/iperf3", "-s"]
    stage.leave_running(server, ours)
    try:
        answer = scratch.path / "net-server"
        form = "{{.NetworkSettings.IPAddress}}"
        stage.run([minirun, "inspect", "--format", form, "server"], ours, answer)
        client = ["--client", answer.read_text().strip(), "--time", str(FLOW_S), "--json"]
        inside: Words = [minirun, "run", "--rm", "--network", "bridge", "iperf3", "/usr/bin/iperf3", *client]
        with _Wire(scratch, stage) as wire:
            both = {"containers": (inside, ours), "by hand": (wire.client(), dict[str, str]())}
            for number in range(-1, FLOWS):
                tell(f"iperf3: round {number + 2} of {FLOWS + 1}")
                order = list(both) if number % 2 else [*both][::-1]
                rates = {name: _rate(stage, *both[name], answer) for name in order}
                if number >= 0:
                    found.flows.append((rates["containers"], rates["by hand"]))
    finally:
        stage.leave_running([minirun, "rm", "-f", "server"], ours)


def _rate(stage: Stage, words: Words, environment: dict[str, str], answer: Path) -> float:
    stage.run(words, environment, answer)
    return float(json.loads(answer.read_text())["end"]["sum_received"]["bits_per_second"]) / 1e9


def _write_iperf3(target: Path) -> None:
    """Make a layer of iperf3 and the libraries that it is linked with, where the host has them."""
    program = shutil.which("iperf3")
    if program is None:
        raise Failure("iperf3 is not installed")
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(target, "w") as tar:
        for name in ("dev", "etc", "proc", "sys", "tmp", "var"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(program, "usr/bin/iperf3")
        for word in linked:
            if word.startswith("/"):
                tar.add(Path(word).resolve(), word.lstrip("/"))


class _Wire:
    """Two namespaces on a bridge that is in a third one, where there are no rules, and a server in one of them."""

    def __init__(self, scratch: Scratch, stage: Stage) -> None:
        self._pid = scratch.path / "net-iperf3.pid"
        self._stage = stage

    def client(self) -> Words:
        """What measures, from the one to the other."""
        return ["ip", "netns", "exec", "wire-b", "iperf3", "--client", "192.0.2.1", "--time", str(FLOW_S), "--json"]

    def __enter__(self) -> _Wire:
        for name in ("wire", "wire-a", "wire-b"):
            self._ip("netns", "add", name)
        self._ip("-n", "wire", "link", "add", "bridge0", "type", "bridge")
        for number, name in ((1, "wire-a"), (2, "wire-b")):
            self._ip("-n", "wire", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            self._ip("-n", "wire", "link", "set", name, "master", "bridge0", "up")
            self._ip("-n", name, "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            self._ip("-n", name, "link", "set", "eth0", "up")
        self._ip("-n", "wire", "link", "set", "bridge0", "up")
        server: Words = ["ip", "netns", "exec", "wire-a", "iperf3", "--server", "--daemon", "--pidfile", self._pid]
        self._stage.leave_running(server, {})
        return self

    def __exit__(self, *_error: object) -> None:
        os.kill(int(self._pid.read_text().strip("\0\n")), 9)
        for name in ("wire", "wire-a", "wire-b"):
            self._ip("netns", "delete", name)

    def _ip(self, *words: str) -> None:
        self._stage.run(["ip", *words], {})


def part(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> report.Part:
    """Start containers on networks, and send something through one: its section of the results."""
    found = contest(minirun, scratch, stage, rounds, tell)
    low, over_ms, high = found.over_none_ms()
    word = "met" if over_ms <= OVER_NONE_MS else "**missed**"
    more = f"{over_ms:.1f} ms ({low:.1f}–{high:.1f})"
    first, last = f"{found.first_ms:.1f} ms", f"{found.last_ms:.1f} ms"
    many, ends = MANY, ENDS
    targets = report.targets(found.starts, BRIDGE, TARGETS)
    text = f"""## Network: `/bin/true` in a container on a bridge, {rounds} rounds

{report.times(found.starts, BRIDGE, 1e-3, "ms")}
{targets}- {word}: at most {OVER_NONE_MS:.0f} ms more than without a network: {more}

Each container was asked whether it has an address and a way out. What podman and docker do to interfaces and rules is
done in a network namespace of the benchmark's own. docker's daemon was there before, and keeps no log; podman is set up
as in the part on starts, and connects by CNI's plugins. On a network with names containers find each other, by a
resolver that is one process for all.

A start on a network with nobody else, and beside {many} others on the same bridge:

{report.times(found.crowd, ALONE, 1e-3, "ms")}
Of {many} `run -d` on one bridge, one after the other, the first {ends} took {first} and the last {ends} {last}, in the
median: × {found.last_ms / found.first_ms:.2f}.

{_told_flows(found)}"""
    rows = report.short(found.starts, "`/bin/true` on a bridge", 1e-3, "ms")
    samples = {"starts": report.samples(found.starts), "crowd": report.samples(found.crowd), "flows": found.flows}
    return report.Part(text, rows, samples)


def _told_flows(found: Networked) -> str:
    if not found.flows:
        return f"iperf3 was left out: {found.no_flows}.\n"
    shares = [inside / by_hand for inside, by_hand in found.flows]
    low, share, high = quartiles(shares)
    inside, by_hand = (quartiles(list(rates))[1] for rates in zip(*found.flows, strict=True))
    least = 1 - WITHIN
    word = "met" if share >= least else "**missed**"
    how = f"one TCP connection for {FLOW_S} s, {len(shares)} rounds"
    return f"""iperf3, {how}: between two containers on the default bridge {inside:.1f} Gbit/s, between
two namespaces on a bridge made by hand, in one without rules, {by_hand:.1f} Gbit/s.

- {word}: at least {least:.2f} of that: {share:.2f} ({low:.2f}–{high:.2f})
"""
