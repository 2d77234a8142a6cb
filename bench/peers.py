"""Other people's programs, set up to do what minirun does, with their state in our scratch directory.

All of them get minirun's own filter of system calls: it would be no comparison if one compiled a longer list.

image/        layers, as minirun takes them        ─▶ image-oci/   by umoci    ─▶ podman/    its store
              000-base.tar … 004-layer.tar                 └▶ unpacked/  by umoci ─▶ bundle-…/ for runc
"""

from __future__ import annotations

import io
import json
import os
import resource
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.contest import Failure, Stage
from bench.scratch import CGROUP, Scratch

CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
OWN_FILES = ("hostname", "hosts", "resolv.conf")  # files of /etc that Docker and minirun attach
CAP_SYS_RESOURCE = 24  # linux/capability.h
LAYERS = 5
PROFILE = Path(__file__).resolve().parent.parent / "minirun" / "security" / "seccomp.json"


def write_layers(folder: Path, count: int = LAYERS) -> None:
    """Make an image of so many layers: busybox, and small ones on it.

    Not the fixture busybox-layers: podman applies the modes of its hardlink entries, and then cannot execute busybox.
    """
    with tarfile.open(folder / "000-base.tar", "w") as tar:
        for name in (".", "bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        program = Path("/bin/busybox").read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
        for name in ("sh", "true", "cat", "grep", "ls", "readlink", "dd", "stat", "awk"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    for number in range(1, count):
        with tarfile.open(folder / f"{number:03}-layer.tar", "w") as tar:
            entry = tarfile.TarInfo(f"etc/layer-{number}")
            entry.mode = 0o644
            tar.addfile(entry)


def write_oci(stage: Stage, layers: Sequence[Path], target: Path) -> None:
    """Let umoci make the OCI layout *target* of *layers*; its image is called ``bench``."""
    stage.run(["umoci", "init", "--layout", target], {})
    stage.run(["umoci", "new", "--image", f"{target}:bench"], {})
    for layer in layers:
        stage.run(["umoci", "raw", "add-layer", "--image", f"{target}:bench", layer], {})


def write_bundle(root: Path, folder: Path, arguments: Sequence[str], *, filter_devices: bool = True) -> None:
    """Write the bundle *folder* for runc or crun: what Docker would give it for *arguments*.

    Its root is the directory *root*, as it is: no overlay is made for it, nor removed afterwards.

    Args:
        root: of its files.
        folder: is made.
        arguments: its command.
        filter_devices: as Docker does. crun wants to lock memory for that, without end, and may not everywhere.
    """
    folder.mkdir()
    for name in OWN_FILES:
        (folder / name).touch()
    closed = ["nosuid", "noexec", "nodev"]
    mounts = [
        ("/proc", "proc", "proc", closed),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/sys", "sysfs", "sysfs", [*closed, "ro"]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", [*closed, "ro"]),
        ("/dev/mqueue", "mqueue", "mqueue", closed),
        ("/dev/shm", "tmpfs", "shm", [*closed, "mode=1777", "size=65536k"]),  # noqa: S108 - in the container
        *((f"/etc/{name}", "bind", f"{folder}/{name}", ["bind", "rprivate"]) for name in OWN_FILES),
    ]
    configuration = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(arguments),
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
        },
        "root": {"path": os.fspath(root)},
        "hostname": "bench",
        "mounts": [
            {"destination": target, "type": kind, "source": source, "options": how}
            for target, kind, source, how in mounts
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]} if filter_devices else {},
            "seccomp": _seccomp(),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }
    (folder / "config.json").write_text(json.dumps(configuration))


def may_filter_devices(runtime: str) -> bool:
    """Whether *runtime* can filter devices here: crun gives up where it may not lock memory without end."""
    if runtime != "crun":
        return True
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY or _has_sys_resource()


def _has_sys_resource() -> bool:
    effective = Path("/proc/self/status").read_text().partition("CapEff:\t")[2].split()[0]
    return bool(int(effective, 16) >> CAP_SYS_RESOURCE & 1)


def _seccomp() -> dict[str, Any]:
    """PROFILE as a runtime gets it: what depends on capabilities is decided for CAPABILITIES."""
    profile = json.loads(PROFILE.read_text())
    (native,) = profile["archMap"]
    rules = []
    for rule in profile["syscalls"]:
        includes, excludes = (set(rule.get(word, {}).get("caps", ())) for word in ("includes", "excludes"))
        if includes <= set(CAPABILITIES) and not excludes & set(CAPABILITIES):
            rules.append({word: rule[word] for word in ("names", "action", "args", "errnoRet") if word in rule})
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": [native["architecture"], *native["subArchitectures"]],
        "syscalls": rules,
    }


class Podman:
    """podman with a store of its own, and neither log, events nor a group for its monitor: what would cost it time.

    Args:
        scratch: where its store goes.
        name: of the store.
    """

    def __init__(self, scratch: Scratch, name: str) -> None:
        self.root = scratch.folder(name)
        settings = self.root / "containers.conf"
        # file locks: the shared memory that it uses otherwise is shared with the host's own podman
        settings.write_text(
            f'[engine]\nlock_type = "file"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nruntime = "runc"\n'
            f'static_dir = "{self.root}/libpod"\nvolume_path = "{self.root}/volumes"\ntmp_dir = "{self.root / "tmp"}"\n'
        )
        self.environment = {"CONTAINERS_CONF": f"{settings}"}

    def __call__(self, *arguments: str | Path) -> list[str | Path]:
        """The command line that runs *arguments* on this store."""
        places = ("--root", self.root / "storage", "--runroot", self.root / "run")
        return ["podman", *places, "--storage-driver", "overlay", *arguments]

    def pull(self, stage: Stage, layout: Path) -> str:
        """Take the image ``bench`` of an OCI layout; returns its id.

        Raises:
            Failure: it does not.
        """
        answer = self.root / "image"
        stage.run(self("pull", "--quiet", f"oci:{layout}:bench"), self.environment, answer)
        return answer.read_text().strip()

    def run(self, *arguments: str | Path, network: str = "none") -> list[str | Path]:
        """The command line of `podman run` in its fastest form that still does the same."""
        # podman's own defaults are more than root may have where it lacks CAP_SYS_RESOURCE, and its limit of processes
        # needs a controller, which v2 lacks where v1 has it
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--pids-limit=-1")
        return self(
            "run", f"--network={network}", "--pull=never", "--log-driver=none", f"--security-opt=seccomp={PROFILE}",
            "--cgroups=no-conmon", "--cgroupns=private", f"--cgroup-parent=/{CGROUP}", *limits, *arguments,
        )  # fmt: skip


class Docker:
    """docker with a daemon of its own, in namespaces that end with it, and its data in our scratch directory.

    Args:
        scratch: where its data goes.
        name: of the directory there.
    """

    WAIT_S = 30.0

    def __init__(self, scratch: Scratch, name: str) -> None:
        self.root = scratch.folder(name)
        self._alive = -1

    def __call__(self, *arguments: str | Path) -> list[str | Path]:
        """The command line that has this daemon do *arguments*, by the client that came with it."""
        return ["/usr/bin/docker", f"--host=unix://{self.root}/socket", *arguments]

    def start(self, stage: Stage) -> None:
        """Start the daemon. It ends with us, however we end: the other end of a FIFO is ours.

        Raises:
            Failure: it is not installed, or does not start.
        """
        if not Path("/usr/sbin/dockerd").exists():
            raise Failure("dockerd is not installed")
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid", "host": "socket"}
        options = [f"--{name}={'unix://' * (name == 'host')}{self.root}/{place}" for name, place in places.items()]
        options += ["--storage-driver=overlay2", "--oom-score-adjust=0", f"--cgroup-parent=/{CGROUP}"]
        daemon = self.root / "daemon"
        # its key is the only thing that it writes elsewhere
        daemon.write_text(
            "#!/bin/sh\n[ ! -d /etc/docker ] || mount -t tmpfs tmpfs /etc/docker\n"
            f"exec /usr/sbin/dockerd {' '.join(options)}\n"
        )
        alive = self.root / "alive"
        os.mkfifo(alive)
        script = f"""
            unshare --mount --pid --fork --kill-child --mount-proc sh {daemon} >{self.root}/log 2>&1 </dev/null &
            read -r _ <{alive}
            kill -KILL $!"""
        stage.leave_running(["sh", "-c", 'setsid sh -c "$0" >/dev/null 2>&1 </dev/null &', script], {})
        self._alive = os.open(alive, os.O_RDWR | os.O_CLOEXEC)
        until_s = time.monotonic() + self.WAIT_S
        while time.monotonic() < until_s:
            try:
                stage.run(self("version"), {})
            except Failure:
                time.sleep(0.1)
            else:
                return
        self.stop()
        raise Failure("dockerd does not answer")

    def load(self, stage: Stage, layout: Path) -> None:
        """Take the image ``bench`` of an OCI layout.

        Raises:
            Failure: it does not, or skopeo, which makes an archive for it, is not installed.
        """
        archive = self.root / "image.tar"
        stage.run(["skopeo", "copy", "--quiet", f"oci:{layout}:bench", f"docker-archive:{archive}:bench:latest"], {})
        stage.run(self("load", "--input", archive), {})
        archive.unlink()

    def run(self, *arguments: str | Path) -> list[str | Path]:
        """The command line of `docker run --rm` with the filter that all have, and without a log."""
        return self("run", "--rm", f"--security-opt=seccomp={PROFILE}", "--log-driver=none", *arguments)

    def stop(self) -> None:
        """End the daemon, and whatever it has started."""
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
            time.sleep(1)  # the kernel ends all of its namespace
