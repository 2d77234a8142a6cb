"""The interpreter and the files of minirun stay as they are, whatever a container gets hold of: CVE-2019-5736.

The programs and files that are executed or read on the way into a container are looked for from inside, in what
processes show of themselves; each that is got hold of is to be made writable, in a dozen ways: see tests/grab.c.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import minirun as package
from tests import busybox
from tests.command import LAUNCHER, PATIENCE, Minirun

PYTHON = Path(LAUNCHER.read_text().splitlines()[0][2:].split()[0]).resolve()
PACKAGE = Path(package.__file__).parent
# what works on a program of the host's that is executed: the test of tests
WAYS_OF_HOST = {"chmod", "chown", "xattr", "flags", "clone", "link"}
EXECS = 12


def files() -> list[Path]:
    """The interpreter, the launcher, and every file of the package; but for what Python makes of its sources."""
    found = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [PYTHON, LAUNCHER, *sorted(found)]


def digests() -> dict[Path, str]:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files()}


def numbers(paths: list[Path]) -> list[str]:
    statuses = [path.stat() for path in paths]
    return [f"{status.st_dev}:{status.st_ino}" for status in statuses]


@pytest.fixture(scope="module")
def grab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("grabbing") / "grab"
    source = Path(__file__).parent.parent / "grab.c"
    subprocess.run(["gcc", "-O1", "-static", "-o", program, source], check=True)
    return program


def said(printed: str) -> tuple[set[str], set[str]]:
    """What was held, and the ways that worked."""
    words = [line.split() for line in printed.splitlines()]
    return {line[1] for line in words if line[0] == "held"}, {line[1] for line in words if line[0] == "way"}


def test_on_the_host_a_program_that_is_executed_is_got_hold_of_and_changed(grab: Path, tmp_path: Path) -> None:
    """Else the test below would see nothing. In a pid namespace and with a root of its own, for what it looks at."""
    victim = tmp_path / "bin/busybox"
    for folder in ("bin", "proc", "tmp"):
        (tmp_path / folder).mkdir()
    shutil.copy2(busybox.BUSYBOX, victim)
    shutil.copy2(grab, tmp_path / "grab")
    script = (
        f"mount -t proc proc {tmp_path}/proc; chroot {tmp_path} /bin/busybox sleep 100 & "
        f"(sleep 1; touch {tmp_path}/tmp/enough) & exec chroot {tmp_path} /grab {numbers([victim])[0]}"
    )
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60 * PATIENCE)
    held, ways = said(done.stdout)
    assert "exe" in held
    assert ways >= WAYS_OF_HOST


# --privileged has every capability, and no filter
@pytest.mark.parametrize("flags", [(), ("--cap-add", "SYS_PTRACE"), ("--privileged",)], ids=" ".join)
def test_what_is_got_hold_of_in_a_container_is_changed_in_no_way(
    store: Minirun, grab: Path, flags: tuple[str, ...]
) -> None:
    before = digests()
    health = ("--health-cmd", "true", "--health-interval", "200ms")
    given = ("-v", f"{grab}:/grab:ro", "--init", *health, *flags)
    store("run", "-d", "--name", "grabbing", *given, "busybox", "/grab", *numbers(list(before)), check=True)
    try:
        for number in range(EXECS):
            tty = ("-t",) if number % 4 == 3 else ()
            assert store("exec", *tty, "grabbing", "true").returncode == 0
        store("cp", "grabbing:/etc/passwd", "-", check=True)
        store("exec", "grabbing", "touch", "/tmp/enough")  # ends with the container
        assert store("wait", "grabbing", check=True, timeout_s=60 * PATIENCE).stdout == "0\n"
        log = store("logs", "grabbing", check=True).stdout
    finally:
        store("rm", "-f", "grabbing", check=True)
    held, ways = said(log)
    assert "exe" in held  # the stub, which is PID 1 here
    assert not ways
    assert digests() == before


@pytest.mark.parametrize("flags", [(), ("--init",), ("-t",)], ids=" ".join)
@pytest.mark.parametrize("target", ["/proc/self/exe", "/proc/1/exe", "/proc/thread-self/exe"])
def test_a_command_that_is_a_link_to_what_executes_it_is_harmless(
    store: Minirun, tmp_path: Path, target: str, flags: tuple[str, ...]
) -> None:
    before = digests()
    base = busybox.tree(tmp_path / "image")
    (base / "link").symlink_to(target)
    (base / "script").write_text(f"#!{target}\n")
    (base / "script").chmod(0o755)
    for command in (["/link"], ["/script"], ["/link", "run", "x"], ["/script", "-c", "import os"]):
        result = store("run", "--rm", *flags, tmp_path / "image", *command, timeout_s=20 * PATIENCE)
        assert result.returncode != 0
        assert "Python" not in result.stdout + result.stderr
    assert digests() == before


EVIL = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void)
{
    char target[4096];
    ssize_t length = readlink("/proc/self/exe", target, sizeof target - 1);
    int log = open("/loaded", O_WRONLY | O_CREAT | O_APPEND, 0666);
    target[length] = '\\n';
    write(log, target, length + 1);
    close(log);
}
"""


def test_a_library_that_a_container_plants_is_loaded_by_its_own_programs_alone(store: Minirun, tmp_path: Path) -> None:
    before = digests()
    variables = {
        "LD_PRELOAD": "/evil.so", "LD_LIBRARY_PATH": "/", "LD_AUDIT": "/evil.so", "PYTHONPATH": "/", "PYTHONHOME": "/",
        "PYTHONSTARTUP": "/evil.py", "GCONV_PATH": "/", "MINIRUN_ROOT": "/evil", "MINIRUN_DEBUG": "1",
    }  # fmt: skip
    base = busybox.tree(tmp_path / "image", {"Env": [f"{name}={value}" for name, value in variables.items()]})
    (tmp_path / "evil.c").write_text(EVIL)
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", base / "evil.so", tmp_path / "evil.c"], check=True)
    shutil.copy2("/bin/true", base / "bin/dynamic")
    libraries = subprocess.run(["ldd", "/bin/true"], capture_output=True, text=True, check=True).stdout.split()
    for library in (Path(word) for word in libraries if word.startswith("/")):
        (base / library.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, base / library.relative_to("/"))
    for name in ("os.py", "json.py", "encodings.py", "sitecustomize.py", "evil.py"):
        (base / name).write_text("open('/loaded', 'a').write('python\\n')\n")
    store("import", tmp_path / "image", "evil", check=True)
    settings = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    health = ("--health-cmd", "true", "--health-interval", "100ms", "-w", "/")
    with store.start("run", "--rm", "--name", "evil", *settings, *health, "evil", "sleep", "1000") as process:
        end = time.monotonic() + 20 * PATIENCE
        while store("exec", *settings, "-w", "/", "evil", "true").returncode:
            assert time.monotonic() < end
            time.sleep(0.05)
        while '"Log":[{' not in store("inspect", "-f", "{{json .State.Health}}", "evil").stdout:
            assert time.monotonic() < end
            time.sleep(0.05)
        store("cp", "evil:/etc", tmp_path / "etc", check=True)
        assert store("exec", "evil", "cat", "/loaded").returncode == 1  # nobody has loaded anything
        store("exec", "evil", "dynamic", check=True)
        assert set(store("exec", "evil", "cat", "/loaded", check=True).stdout.split()) == {"/bin/dynamic"}
        (found,) = json.loads(store("inspect", "evil", check=True).stdout)
        assert found["State"]["Health"]["Log"][0]["ExitCode"] == 0
        store("rm", "-f", "evil", check=True)
        process.communicate(timeout=20 * PATIENCE)
    store("rmi", "evil", check=True)
    assert not Path("/loaded").exists()
    assert digests() == before
