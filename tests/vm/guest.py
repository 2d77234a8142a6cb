"""Run a command in a guest that has this host's files and a kernel of its own, and return its status.

    python -m tests.vm.guest [--kernel 6.12] [--cpus 2] [--memory-mib 2048] [--limit-s 600] COMMAND…

    this process ──┬── virtiofsd ── the host's /, mounted read-only for it ───────────┐ virtiofs
                   └── qemu ──┬── kernel and initramfs: init, busybox, modules        ├── guest: init ─▶ job ─▶ COMMAND
                              ├── ttyS0    console, shown when something went wrong   │
                              ├── vport 1  what COMMAND prints: our standard output ──┤
                              ├── vport 2  its status ────────────────────────────────┤
                              └── vda      an empty disk, gone with the guest ────────┘

Nothing is left: files are open but unlinked from the start, and both processes get SIGKILL when this one ends, however
it ends; this one gets SIGTERM when what started it ends. The guest has no network. It is emulated (TCG), so that it
works where there is no /dev/kvm, or none that boots a stock kernel: expect a process to start twenty times slower.

Exit status: COMMAND's; 125 and a sentence when there was no guest, or COMMAND did not end in it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

import prctl

from tests.vm import initramfs
from tests.vm.kernel import CHECKOUT, Kernel, NoGuest, kernel

HERE = Path(__file__).parent
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
BUSYBOX = "/bin/busybox"  # of busybox-static
# What must be there before the host's files are.
MODULES = ("virtio_pci", "virtio_console", "virtiofs", "overlay")
DISK_BYTES = 512 << 20
BOOT_S = 60  # to boot, and to end
FAILED = 125
# `timeout` says 124 when it ended the command, and 137 when SIGINT was not enough.
ENDED_LATE = (124, 137)


def main() -> int:
    """Do what the command line says."""
    options = arguments()
    prctl.set_pdeathsig(signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, end)
    try:
        return run(options)
    except NoGuest as error:
        sys.stderr.write(f"vm: {error}\n")
        return FAILED


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm.guest", description="Run a command in a guest.")
    parser.add_argument("--kernel", default="6.12", help="Debian's newest cloud kernel of this series (6.12)")
    parser.add_argument("--cpus", type=int, default=2, help="processors (2)")
    parser.add_argument("--memory-mib", type=int, default=2048, help="memory (2048)")
    parser.add_argument("--limit-s", type=int, default=600, help="after this many seconds COMMAND is ended (600)")
    parser.add_argument("--append", default="", metavar="WORDS", help="more for the kernel: security=selinux")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    options = parser.parse_args()
    if not options.command:
        parser.error("no COMMAND was given")
    return options


def end(number: int, frame: FrameType | None) -> NoReturn:
    """Leave as the signal asks, through every `finally`."""
    if number == signal.SIGALRM:
        raise NoGuest("the guest did not end by itself and was killed")
    raise SystemExit(128 + number)


def run(options: argparse.Namespace) -> int:
    """Boot, pass on what the command prints, and return its status.

    Raises:
        NoGuest: none came up, or the command did not end.
    """
    booted = kernel(options.kernel)
    settings = {
        "CHECKOUT": str(CHECKOUT),
        "MODULES": str(booted.folder / "lib/modules"),
        "SERIES": options.kernel,
        "LIMIT_S": str(options.limit_s),
        "COMMAND": shlex.join(options.command),
    }
    with contextlib.ExitStack() as undo:
        console, status, disk, archive = (undo.enter_context(tempfile.TemporaryFile()) for _ in range(4))
        disk.truncate(DISK_BYTES)
        archive.write(first_files(booted, settings))
        archive.flush()
        output, written = (
            undo.enter_context(os.fdopen(end, mode)) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True)
        )
        files = undo.enter_context(shared_root(console))
        numbers = {
            "console": console.fileno(), "status": status.fileno(), "disk": disk.fileno(), "archive": archive.fileno(),
            "output": written.fileno(), "files": files.fileno(),
        }  # fmt: skip
        signal.alarm(options.limit_s + BOOT_S)
        qemu = undo.enter_context(started(machine(options, booted, numbers), list(numbers.values()), log=console))
        written.close()
        try:
            while data := os.read(output.fileno(), 1 << 16):
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            qemu.wait()
            return read_status(status, options.limit_s)
        except NoGuest as error:
            raise NoGuest(f"{error}\nits console:\n{text(console)}") from None


def first_files(booted: Kernel, settings: dict[str, str]) -> bytes:
    """Return the initramfs."""
    files = {
        "init": (HERE / "init").read_bytes(),
        "bin/sh": Path(BUSYBOX).read_bytes(),
        "settings": "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items()).encode(),
    }
    files["bin/busybox"] = files["bin/sh"]
    for number, (name, data) in enumerate(booted.modules(MODULES)):
        files[f"modules/{number:02}-{name}.ko"] = data  # loaded in the order of their names
    return initramfs.archive(files)


@contextlib.contextmanager
def shared_root(log: IO[bytes]) -> Iterator[socket.socket]:
    """Serve the host's root to the one that holds the socket; virtiofsd's words go to *log*."""
    # It keeps a descriptor for every file that the guest has seen.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as connected:
        with tempfile.TemporaryDirectory() as folder:
            listening.bind(f"{folder}/socket")
            listening.listen(1)
            connected.connect(f"{folder}/socket")
        # It can serve nothing read-only by itself. In its mount namespace, the host's root is.
        read_only = ["unshare", "--mount", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh"]
        # sandbox=namespace, the default, wants to raise limits and a PID namespace; the guest is not hostile
        daemon = [VIRTIOFSD, f"--fd={listening.fileno()}", "--rlimit-nofile=0"]
        daemon += ["-o", "source=/", "-o", "sandbox=chroot", "-o", "cache=always", "-o", "log_level=warn"]
        with started([*read_only, *daemon], [listening.fileno()], log=log):
            yield connected


def machine(options: argparse.Namespace, booted: Kernel, ends: dict[str, int]) -> list[str]:
    """Return the words that start qemu; *ends* are the descriptors that it inherits."""
    path = {name: f"/proc/self/fd/{number}" for name, number in ends.items()}
    # thread=single: with a thread for each processor, qemu 7.2 runs code that the kernel has just patched on another
    # one ("Oops: int3"). -cpu max emulates AVX, which costs more than it gives.
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", "tcg,thread=single,tb-size=512", "-cpu", "Nehalem", "-smp", str(options.cpus),
        "-machine", "q35,memory-backend=memory", "-m", f"{options.memory_mib}M",
        # virtiofsd reads and writes the guest's memory
        "-object", f"memory-backend-memfd,id=memory,size={options.memory_mib}M,share=on",
        "-kernel", str(booted.image), "-initrd", path["archive"],
        "-append", f"console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable {options.append}".rstrip(),
        "-chardev", f"file,id=console,path={path['console']},append=on", "-serial", "chardev:console",
        "-chardev", f"socket,id=files,fd={ends['files']}", "-device", "vhost-user-fs-pci,chardev=files,tag=host",
        "-drive", f"file={path['disk']},format=raw,if=none,id=disk,cache=unsafe",
        "-device", "virtio-blk-pci,drive=disk,serial=scratch",
        "-device", "virtio-serial-pci",
        # not `-chardev stdio`, which is disconnected at the end of its input
        "-chardev", f"file,id=output,path={path['output']}", "-device", "virtserialport,nr=1,chardev=output",
        "-chardev", f"file,id=status,path={path['status']}", "-device", "virtserialport,nr=2,chardev=status",
    ]  # fmt: skip


@contextlib.contextmanager
def started(words: list[str], descriptors: list[int], *, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start *words*, and kill it at the end, and when this process is killed."""
    try:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *words],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=descriptors,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise NoGuest(f"there is no {error.filename}: start this by `sudo make vm-test`, which installs it") from None
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_status(status: IO[bytes], limit_s: int) -> int:
    """Return what the guest told.

    Raises:
        NoGuest: nothing, or that it had to end the command.
    """
    if not (told := text(status).strip()):
        raise NoGuest("the guest ended before the command did")
    if (code := int(told)) in ENDED_LATE:
        raise NoGuest(f"the command was killed (status {code}): it did not end within {limit_s} s, or memory ran out")
    return code


def text(file: IO[bytes]) -> str:
    """Everything in *file*."""
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
