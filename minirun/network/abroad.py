"""A network namespace is fetched by a child that does not come back: an ordinary user may leave that of the host only.

    caller ── fork ── child ── unshare or setns ── a socket of rtnetlink, the namespace
       ◀── SCM_RIGHTS: both ──┘ ends

See setns(2), which takes CAP_SYS_ADMIN in the user namespace that a network namespace belongs to; unix(7).
"""

from __future__ import annotations

import os
import socket

from minirun.network import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ERROR_BYTES = 4


def fetch(go: Callable[[], object], own: str) -> tuple[int, socket.socket]:
    """A descriptor of the namespace that *go* leads to, and a socket that speaks to it.

    Args:
        go: goes there; called in the child.
        own: the path of the namespace that a process is in.

    Raises:
        OSError: there is no way there.
    """
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if not child:
        error = 1
        try:
            go()
            speaker = netlink.speak()
            socket.send_fds(there, [bytes(_ERROR_BYTES)], [speaker.fileno(), os.open(own, os.O_RDONLY)])
            error = 0
        except OSError as refused:
            there.send((refused.errno or 1).to_bytes(_ERROR_BYTES, "little"))
        finally:
            os._exit(error)
    there.close()
    with here:
        said, received, _, _ = socket.recv_fds(here, _ERROR_BYTES, 2)
    os.waitpid(child, 0)
    if len(received) != 2:
        error = int.from_bytes(said, "little")
        raise OSError(error, os.strerror(error)) if error else ChildProcessError("the child was ended")
    for descriptor in received:
        os.set_inheritable(descriptor, False)
    return received[1], socket.socket(fileno=received[0])
