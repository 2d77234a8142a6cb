"""Servers that say who asked, and whoever asks them: real packets, in whatever network namespace this is started.

python echo.py serve tcp:80 udp:53      prints "ready", and serves on every address until it is killed
python echo.py ask tcp 192.0.2.1 8080   prints the answer: "80 from 192.0.2.2"; or what went wrong
"""

from __future__ import annotations

import select
import socket
import sys

PATIENCE_S = 1.0


def _open(kind: int, family: int, port: int) -> socket.socket:
    server = socket.socket(family, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    if kind == socket.SOCK_STREAM:
        server.listen(64)
    return server


def serve(places: list[str]) -> None:
    """Answer with our port and the address that we are asked from."""
    servers = [
        _open(socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM, family, int(port))
        for protocol, _, port in (place.partition(":") for place in places)
        for family in (socket.AF_INET, socket.AF_INET6)
    ]
    print("ready", flush=True)  # noqa: T201 - who started us waits for it
    while True:
        for server in select.select(servers, (), ())[0]:
            port = server.getsockname()[1]
            if server.type == socket.SOCK_DGRAM:
                _, peer = server.recvfrom(64)
                server.sendto(f"{port} from {peer[0]}".encode(), peer)
                continue
            connection, peer = server.accept()
            with connection:
                connection.sendall(f"{port} from {peer[0]}".encode())


def ask(protocol: str, address: str, port: int, patience_s: float = PATIENCE_S) -> str:
    """What is answered there; ``refused``, ``timed out`` or ``unreachable`` where nothing is."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as client:
        client.settimeout(patience_s)
        try:
            client.connect((address, port))
            if protocol == "udp":
                client.send(b"?")
            return client.recv(64).decode()
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timed out"
        except OSError as error:
            return "unreachable" if "unreachable" in str(error) else str(error)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2:])
    else:
        print(ask(sys.argv[2], sys.argv[3], int(sys.argv[4])))  # noqa: T201 - what was asked for
