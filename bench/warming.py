"""The start of /bin/true by a resident process, beside a cold start and bubblewrap, which makes fewer things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench import peers, report
from bench.contest import Contestant, Outcome, Stage
from bench.scratch import Scratch

WARM_UPS = 5
WARM = "minirun run --rm, warm"
PYTHON = "the same by the Python client"
COLD = "minirun run --rm, cold"
BUBBLEWRAP = "bubblewrap"
ALIKE = "bubblewrap, capabilities and paths as minirun's"
TARGETS = ((BUBBLEWRAP, 1.3), (COLD, 0.4))


def contest(
    minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]
) -> tuple[Outcome, int]:
    """Run it.

    Returns:
        The outcome, and the kB of memory that the resident process has to itself in the end.
    """
    layers, root, bin_folder = (scratch.folder(f"warm-{name}") for name in ("image", "root", "bin"))
    peers.write_layers(layers)
    for layer in sorted(layers.iterdir()):
        stage.run(["tar", "-C", root, "-xf", layer], {})
    ours = {"MINIRUN_ROOT": f"{scratch.path}/warm", "MINIRUN_RUNTIME": f"{scratch.path}/warm-runtime"}
    stage.run([minirun, "import", layers, "bench"], ours)
    told = scratch.path / "warm-pid"
    # started where it is left running, and asked again for its pid
    stage.leave_running([minirun, "system", "warm"], ours)
    try:
        stage.run([minirun, "system", "warm"], ours, told)
        arguments = ["run", "--rm", "--network", "none", "bench", "/bin/true"]
        commands: dict[str, Sequence[str | Path]] = {
            WARM: [minirun.with_name("minirun-warm"), *arguments],
            PYTHON: [_python_client(minirun, bin_folder), *arguments],
            COLD: [minirun, *arguments],
            BUBBLEWRAP: _bubblewrap(root, []),
            ALIKE: _bubblewrap(root, _alike()),
        }
        contestants = [
            Contestant(name=name, command=lambda _number, words=words: words, environment=ours)  # type: ignore[misc]
            for name, words in commands.items()
        ]
        outcome = stage.compete(contestants, rounds, WARM_UPS, tell=tell)
        memory = Path(f"/proc/{int(told.read_text())}/smaps_rollup").read_text().splitlines()
        own_kb = sum(int(line.split()[1]) for line in memory if line.startswith("Private_"))
    finally:
        stage.run([minirun, "system", "warm", "--stop"], ours)
    outcome.require(WARM)
    return outcome, own_kb


def _python_client(minirun: Path, folder: Path) -> Path:
    """What `make setup` makes where there is no compiler."""
    client = folder / "minirun-warm"
    asks = f'from minirun.resident import client\n\nclient.ask("{minirun}")\nfrom minirun import hot'
    client.write_text(minirun.read_text().replace("from minirun import hot", asks, 1))
    client.chmod(0o755)
    return client


def _alike() -> list[str]:
    words = ["--cap-drop", "ALL"]
    for name in peers.CAPABILITIES:
        words += ["--cap-add", name]
    for path in (*peers.MASKED, *peers.READ_ONLY):
        if Path(path).exists():
            words += ["--ro-bind", "/dev/null" if Path(path).is_file() and path in peers.MASKED else path, path]
    return words


def _bubblewrap(root: Path, more: Sequence[str]) -> Sequence[str | Path]:
    namespaces = [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts", "cgroup")]
    return [
        "bwrap", *namespaces, "--as-pid-1", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev",
        "--ro-bind", "/sys", "/sys", *more, "--", "/bin/true",
    ]  # fmt: skip


def part(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> report.Part:
    """Start containers by a resident process: its section of the results."""
    outcome, own_kb = contest(minirun, scratch, stage, rounds, tell)
    text = f"""## Warm start: `/bin/true` by a resident process, no network, {rounds} rounds

{report.times(outcome, WARM, 1e-3, "ms")}
{report.targets(outcome, WARM, TARGETS)}
minirun makes an overlay, a record, a cgroup and a filter, warm as cold; bubblewrap makes none of them, and binds a
directory. The second one drops capabilities and hides paths as minirun does. Of a warm start the processor time is
the client's alone. The resident process had {own_kb / 1000:.1f} MB of its own in the end.
"""
    return report.Part(text, report.short(outcome, "warm start", 1e-3, "ms"), report.samples(outcome))
