"""What containers in the background cost when there are many, for long: `sudo python -m bench.soak [part ...]`.

cycles   a thousand of run -d, exec, rm: descriptors, mounts, groups and memory of the supervisor stay flat
alive    five hundred at once: the start of the last fifty against that of the first, memory, `ps`
flood    2 GB into a log: how fast, in how much memory
full     a disk that is full of log does not stop the container
exec     1 GB through the pipes of an exec

Each part prints what it measured, and says so if a bound is not kept; then the exit code is 1.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests import kept  # noqa: E402
from tests.command import Minirun  # noqa: E402

IMAGE = PROJECT / "rootfs-fixtures/out/busybox-layers"
CYCLES, MANY, FEW = 1000, 500, 50
OVER = "over"  # a file in the container, in memory
FLOOD_BYTES, EXEC_BYTES, DISK_BYTES = 2 << 30, 1 << 30, 24 << 20
SUPERVISOR_KB, CONTAINER_KB = 12_000, 50
SLOWER, PS_S, EXEC_MB_S = 1.3, 0.1, 500
failures: list[str] = []


def tell(text: str, *, kept_: bool = True) -> None:
    """Print a figure; one that is out of bounds is marked."""
    print(f"  {text}{'' if kept_ else '   <-- out of bounds'}", flush=True)
    if not kept_:
        failures.append(text)


def memory_kb(pid: int, name: str = "Pss") -> int:
    """What a process takes, from /proc/PID/smaps_rollup: Pss, Rss, Private_Dirty."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(name)


def holdings(minirun: Minirun, pid: int) -> dict[str, int]:
    """What there is of what could leak."""
    return {
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "groups": sum(1 for path in Path("/sys/fs/cgroup").rglob("cgroup.procs") if "minirun" in str(path)),
        "files": sum(1 for _ in minirun.runtime.rglob("*")) + sum(1 for _ in (minirun.root / "containers").rglob("*")),
        "kB of the supervisor": memory_kb(pid, "Rss"),
    }


def cycles(minirun: Minirun) -> None:
    """A thousand containers come and go beside one that stays."""
    minirun("run", "-d", "--name", "stays", "busybox", "sleep", "100000", check=True)
    pid = kept.supervisor(minirun)

    def run(count: int) -> float:
        began = time.monotonic()
        for _ in range(count):
            minirun("run", "-d", "--name", "passes", "busybox", "sh", "-c", "echo x; exec sleep 100", check=True)
            minirun("exec", "passes", "true", check=True)
            minirun("rm", "-f", "passes", check=True)
        return time.monotonic() - began

    run(50)
    before = holdings(minirun, pid)
    took = run(CYCLES)
    after = holdings(minirun, pid)
    tell(f"{CYCLES} cycles in {took:.0f} s, {took / CYCLES * 1000:.0f} ms each")
    for name, count in before.items():
        slack = 1000 if name.startswith("kB") else 3 if name == "groups" else 0  # groups: other stores come and go
        tell(f"{name}: {count} before, {after[name]} after", kept_=after[name] <= count + slack)
    tell("one supervisor all the time", kept_=kept.supervisor(minirun) == pid)


def alive(minirun: Minirun) -> None:
    """Five hundred at once."""
    times = []
    for number in range(MANY):
        began = time.monotonic()
        minirun("run", "-d", "--name", f"b{number}", "busybox", "sleep", "100000", check=True)
        times.append(time.monotonic() - began)
    first, last = (statistics.median(part) for part in (times[:FEW], times[-FEW:]))
    text = f"start: first {FEW} {first * 1000:.1f} ms, last {FEW} {last * 1000:.1f} ms, {last / first:.2f} times"
    tell(text, kept_=last <= SLOWER * first)
    time.sleep(1)
    pid = kept.supervisor(minirun)
    keepers = [kept.keeper(minirun, f"b{number}").keeper for number in range(MANY)]
    each = sum(memory_kb(keeper) for keeper in keepers) / MANY
    rss, pss = memory_kb(pid, "Rss"), memory_kb(pid)
    whole = pss + each * MANY
    text = f"supervisor: {rss} kB resident, {pss} kB its share; a keeper {each:.1f} kB; in all {whole:.0f} kB"
    tell(text, kept_=whole <= SUPERVISOR_KB + CONTAINER_KB * MANY)
    ps = []
    for _ in range(11):
        began = time.monotonic()
        assert len(minirun("ps", check=True).stdout.splitlines()) == MANY + 1
        ps.append(time.monotonic() - began)
    tell(f"ps of {MANY}: {statistics.median(ps) * 1000:.0f} ms", kept_=statistics.median(ps) < PS_S)
    kept.kill(*kept.supervisors(minirun))
    began = time.monotonic()
    kept.supervisor(minirun)
    minirun("run", "-d", "--name", "heard", "busybox", "echo", "heard", check=True)
    minirun("wait", "heard", check=True)
    tell(
        f"after a kill -9 the next supervisor has them all, and one more's end, after {time.monotonic() - began:.2f} s"
    )
    began = time.monotonic()
    minirun("rm", "-f", *(f"b{number}" for number in range(MANY)), check=True, timeout_s=300)
    tell(f"rm -f of all: {time.monotonic() - began:.1f} s")


def flood(minirun: Minirun) -> None:
    """2 GB of lines of a hundred bytes."""
    line = "x" * 99
    minirun("run", "-d", "--name", "flood", "busybox", "sh", "-c", f"yes {line} | head -c {FLOOD_BYTES}", check=True)
    pid, most, began = kept.supervisor(minirun), 0, time.monotonic()
    while kept.state(minirun, "flood")["Running"]:
        with suppress(FileNotFoundError):  # with the last container it ends
            most = max(most, memory_kb(pid, "Rss"))
        time.sleep(0.5)
    took = time.monotonic() - began
    tell(f"{FLOOD_BYTES >> 20} MB in {took:.0f} s, {FLOOD_BYTES / took / 1e6:.0f} MB/s")
    tell(f"the supervisor took {most} kB at most", kept_=most < 2 * SUPERVISOR_KB)
    size = sum(path.stat().st_size for path in (minirun.root / "containers").rglob("*-json.log*"))
    tell(f"its log has {size >> 20} MB", kept_=size <= 31 << 20)


def full(minirun: Minirun) -> None:
    """A store on a small file system, and a container that prints more than that holds."""
    with tempfile.TemporaryDirectory(prefix="minirun-soak-") as place:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place], check=True)
        small = Minirun(Path(place) / "root", minirun.runtime / "small")
        try:
            small("import", IMAGE, "busybox", check=True)
            command = f"yes {'y' * 99} | head -c {4 * DISK_BYTES}; echo done >/dev/{OVER}; exec sleep 100000"
            flags = ["--log-opt", "max-size=1g", "--name", "full"]
            small("run", "-d", *flags, "busybox", "sh", "-c", command, check=True)
            began = time.monotonic()
            kept.until(lambda: small("exec", "full", "cat", f"/dev/{OVER}").stdout == "done\n", "it stands still", 60)
            tell(f"it went on, and printed {4 * DISK_BYTES >> 20} MB in {time.monotonic() - began:.1f} s")
            now = kept.state(small, "full")
            stopped = small("stop", "-t", "0", "full")
            tell(f"stop: {stopped.returncode} {stopped.stderr}", kept_=now["Running"] and stopped.returncode == 0)
            removed = small("rm", "full")
            tell(f"rm: {removed.returncode} {removed.stderr}", kept_=removed.returncode == 0)
        finally:
            small("rm", "-f", "full")
            kept.unsupervised(small)
            subprocess.run(["umount", place], check=True)


def through_exec(minirun: Minirun) -> None:
    """1 GB in, and 1 GB out."""
    minirun("run", "-d", "--name", "pipe", "busybox", "sleep", "100000", check=True)
    for name, words in (
        ("out", f"{{}} exec pipe dd if=/dev/zero bs=1M count={EXEC_BYTES >> 20} | cat >/dev/null"),
        ("in", f"head -c {EXEC_BYTES} /dev/zero | {{}} exec -i pipe dd of=/dev/null bs=1M"),
        ("through", f"head -c {EXEC_BYTES} /dev/zero | {{}} exec -i pipe cat | cat >/dev/null"),
    ):
        script = words.format(" ".join(minirun.command([])))
        began = time.monotonic()
        subprocess.run(["sh", "-c", script], env=minirun.environment(), check=True, capture_output=True)
        rate = EXEC_BYTES / (time.monotonic() - began) / 1e6
        tell(f"{name}: {rate:.0f} MB/s", kept_=rate >= EXEC_MB_S)


PARTS = {"cycles": cycles, "alive": alive, "flood": flood, "full": full, "exec": through_exec}


def main() -> int:
    """Measure the parts that are named, or all."""
    for name in sys.argv[1:] or PARTS:
        print(name, flush=True)
        with tempfile.TemporaryDirectory(prefix="minirun-soak-", dir="/dev/shm") as place:
            minirun = Minirun(Path(place) / "root", Path(place) / "runtime")
            minirun("import", IMAGE, "busybox", check=True)
            try:
                PARTS[name](minirun)
            finally:
                kept.clear(minirun)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
