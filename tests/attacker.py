"""The attack of CVE-2019-5736: a program that gets hold of whatever is executed to start a container.

    image: /attack   "#!/proc/self/exe"     executed by whoever starts the container: that is, by itself once more
           /lib64/ld-linux-x86-64.so.2      so a dynamic one of the host's is loaded by this program, which
                                            opens /proc/self/exe, becomes a shell, and opens that for writing

It opens, and never writes: where the defence fails, the host stays whole.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import busybox

SCRIPT = "(: >>/proc/self/fd/9) && echo OPENED; (: >>/proc/1/exe) && echo OPENED; readlink /proc/self/fd/9"
_PROGRAM = """
/* A segment to write to: before 6.7 Linux clears the rest of the last page that it loads, and kills who has none. */
static volatile long descriptor = 9;
static long kernel(long n, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
__attribute__((noreturn)) void _start(void)
{
    const char *arguments[] = {"sh", "-c", "SCRIPT", 0}, *nothing[] = {"PATH=/bin", 0};
    kernel(33, kernel(2, (long)"/proc/self/exe", 0, 0), descriptor, 0);
    kernel(59, (long)"/bin/busybox", (long)arguments, (long)nothing);
    for (;;)
        kernel(60, 99, 0, 0);
}
"""


def image(directory: Path, script: str = SCRIPT) -> Path:
    """Make an image whose command /attack is the attack, and then *script*, which has the executable as 9."""
    base = busybox.tree(directory)
    (base / "attack").write_text("#!/proc/self/exe\n")
    (base / "attack").chmod(0o755)
    (base / "lib64").mkdir()
    source = directory.with_suffix(".c")
    source.write_text(_PROGRAM.replace("SCRIPT", script))
    flags = ("-static", "-nostdlib", "-fno-stack-protector", "-fno-pie", "-no-pie", "-Os")
    subprocess.run(["gcc", *flags, "-o", base / "lib64/ld-linux-x86-64.so.2", source], check=True)
    return directory
