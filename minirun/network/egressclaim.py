"""Which containers are held to an allow-list, and to which: written down before they have an interface.

    <runtime>/egress/               gone at boot, as is what it tells of
    └── <container's id>/           flock of whoever changes its rules, or reads what they denied
        ├── claim                   {"elements": ["pypi.org:443", …], "hosts": [["db", "10.0.0.5"], …], "network": …}
        ├── mr0549d09d7b36c         {"mac": "02:42:…", "bridge": "02:…", "ends": [["10.90.0.7", "10.90.0.0/16", …], …]}
        ├── denials                 see egressdenials.py
        └── joined                  a container shares its network, and may outlive it

At its end it is called <id>.ending, until its rules are gone: nobody makes them again from now on. See egress.py.
"""

from __future__ import annotations

import fcntl
import os

from minirun.kernel import files, jsonfile, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.home import Home
    from minirun.network.record import Network

ENDING = ".ending"
_ID_DIGITS = 64
_CLAIM, _JOINED = "claim", "joined"


def folder(home: Home, container_id: str) -> str:
    """The directory of a container that is held to an allow-list."""
    return f"{home.runtime}/egress/{container_id}"


def write(
    home: Home, container_id: str, name: str, elements: Sequence[str], hosts: Sequence[Sequence[str]], network: Network
) -> None:
    """Write down what a container may reach, before it has an interface.

    Args:
        home: the store.
        container_id: whose.
        name: its name.
        elements: as egresslist.read returned them.
        hosts: (name, address), of its /etc/hosts: nobody is asked for those; GATEWAY among the addresses.
        network: the first that it is on, of which events tell.
    """
    directory = folder(home, container_id)
    tree.remove(directory)  # of a time before, whose end nobody wrote down
    os.makedirs(directory, 0o700)
    told = {"id": network.id, "told": network.told(container=container_id, containerName=name)}
    value = {"elements": [*elements], "hosts": [[*host] for host in hosts], "network": told}
    jsonfile.write(f"{directory}/{_CLAIM}", value, durable=False)
    files.remove(kept(home, container_id))


def hold(home: Home, container_id: str, *, wait: bool = True) -> int:
    """Keep everybody else from changing the rules of a container; -1 if it has no claim, or its end has come.

    Closing the descriptor lets go.

    Raises:
        BlockingIOError: somebody else does, and *wait* is false.
    """
    directory = folder(home, container_id)
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    try:
        if os.path.samestat(os.fstat(descriptor), os.stat(directory)):
            return descriptor
    except FileNotFoundError:
        pass
    os.close(descriptor)
    return -1


def read(home: Home, container_id: str) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        OSError: it is not there.
    """
    told: dict[str, Any] = jsonfile.read(f"{folder(home, container_id)}/{_CLAIM}")
    return told


def kept(home: Home, container_id: str) -> str:
    """The file of what a container was denied that has ended."""
    return f"{home.container(container_id)}/denials.json"


def is_shared(directory: str) -> bool:
    """Whether somebody shares the network of a container, whose directory this is."""
    return os.path.exists(f"{directory}/{_JOINED}")


def claimants(home: Home) -> list[str]:
    """The ids of the containers that are held to a list."""
    try:
        names = os.listdir(f"{home.runtime}/egress")
    except FileNotFoundError:
        return []
    return sorted({name.removesuffix(ENDING) for name in names if len(name.removesuffix(ENDING)) == _ID_DIGITS})


def share(home: Home, container_id: str) -> None:
    """Somebody is about to share the network of a container that is held to a list, and may outlive it."""
    try:
        os.close(os.open(f"{folder(home, container_id)}/{_JOINED}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        pass  # it has just ended
