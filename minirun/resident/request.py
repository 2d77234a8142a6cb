"""What a client and the resident process say to each other, by packets of a unix socket.

    client                                          fork of the resident process
    ──────                                          ────────────────────────────
    launcher NUL count NUL argv NUL … env NUL … ──▶   with 0, 1, 2 and the working directory
    ◀── "c"                                           cold: do it yourself; nothing was done
    ◀── "t", with a pidfd of the fork                 taken: from here on it is the one in the foreground
    signals, by pidfd_send_signal ───────────────▶
    ◀── "e" and the exit code                         ended; what is still to be tidied up is nobody's concern

The end of the connection before "t" means the same as "c". After it: the other one was killed, and so who is left kills
himself, as if both were one process. See minirun/launch/client.c, which is the other end, and client.py.
"""

from __future__ import annotations

SOCKET = "warm"  # in the runtime directory
VARIABLE = "MINIRUN_WARM"  # 0: always the cold way; a path: of another socket
COLD, TAKEN, ENDED = b"c", b"t", b"e"
DESCRIPTORS = 4
LONGEST_BYTES = 256 << 10
COMMANDS = ("run", "exec")
# what they lead to depends on whose process asks
_OWN_PATHS = (b"/fd/", b"/dev/tty", b"/proc/self", b"/proc/thread-self")


class Request:
    """What a client wants.

    Attributes:
        arguments: of its command line, the name of the program included.
        environment: name → value.
    """

    __slots__ = ("arguments", "environment")

    def __init__(self, arguments: list[bytes], environment: dict[bytes, bytes]) -> None:
        self.arguments = arguments
        self.environment = environment


def parse(data: bytes, launcher: bytes) -> Request | None:
    """Read a request; None if it is of another installation than that of *launcher*, or only its maker can do it."""
    words = data.split(b"\0")
    if len(words) < 4 or words[0] != launcher or words[-1] or not words[1].isdigit():
        return None
    count = int(words[1])
    arguments, variables = words[2 : 2 + count], words[2 + count : -1]
    if len(arguments) < 2 or arguments[1].decode(errors="replace") not in COMMANDS:
        return None
    if any(path in word for path in _OWN_PATHS for word in arguments):
        return None
    pairs = (variable.partition(b"=") for variable in variables)
    return Request(arguments, {name: value for name, equals, value in pairs if name and equals})
