"""Images come from registries and go to them."""

from __future__ import annotations

import os
from contextlib import closing

from minirun import events
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, NotFound
from minirun.image import departure, platform
from minirun.image.reference import Reference, parse
from minirun.image.store import Images
from minirun.journal import Operation
from minirun.kernel import files
from minirun.registry import accounts, trust
from minirun.registry import pull as pulling
from minirun.registry import push as pushing
from minirun.registry.accounts import Account
from minirun.registry.address import Address, of_image
from minirun.registry.client import Client
from minirun.registry.listener import Listener
from minirun.registry.repository import Repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home
    from minirun.image.source import Progress, Warn
    from minirun.registry.patience import Patience

_PACKED = ("gzip", "zstd")  # nobody waits for a tar that could be smaller


class Way:
    """How registries are reached, other than by what the host has configured.

    Attributes:
        tls_verify: False: no certificate is verified.
        cert_dir: with certificates for the registry; empty: Docker's folder.
        patience: how long they are waited for.
    """

    __slots__ = ("cert_dir", "patience", "tls_verify")

    def __init__(self, *, tls_verify: bool = True, cert_dir: str = "", patience: Patience | None = None) -> None:
        self.tls_verify = tls_verify
        self.cert_dir = cert_dir
        self.patience = patience

    def client(self, address: Address, attempt: str, account: Account | None) -> Client:
        """What speaks to a registry, to do *attempt*."""
        rules = trust.Trust(tls_verify=self.tls_verify, cert_dir=self.cert_dir, insecure=trust.listed())
        return Client(address, attempt, rules, account, self.patience)


def has_tag(name: str) -> bool:
    """Whether the user said which image of a repository is meant."""
    return "@" in name or name.rfind(":") > name.rfind("/")


def familiar(name: str) -> str:
    """The name as it is stored, with its tag."""
    return parse(name).familiar


def whole(reference: Reference) -> str:
    """The name with its registry, as Docker prints it at the end: ``docker.io/library/ubuntu:latest``."""
    address, name = of_image(reference)
    return Reference(f"{address.name}/{name}", reference.tag, reference.digest).familiar


def pull(
    name: str, *, all_tags: bool = False, wanted: str = "", way: Way | None = None, told: Listener | None = None,
    warn: Warn | None = None,
) -> str:  # fmt: skip
    """Bring an image here, or all that a repository has a tag for.

    Args:
        name: of the image, or of the repository.
        all_tags: whether all are wanted.
        wanted: for which platform, as typed; empty: this host's.
        way: how the registry is reached.
        told: of what happens.
        warn: told what was left out of a layer.

    Returns:
        The whole name of what was pulled.

    Raises:
        MinirunError: it is not here; what the store has is as before, but for tags that were pulled already.
    """
    reference, told = parse(name), told or Listener()
    if all_tags and has_tag(name):
        raise BadInput(f"pull {name}", "-a brings all tags, and one was named", f"`minirun pull -a {reference.name}`")
    attempt = f"pull {reference.name if all_tags else reference.familiar}"
    taken = platform.Platform.parse(wanted) if wanted else None
    home = open_home()
    newer = False
    with Attempt(attempt), closing(_repository(reference, attempt, way)) as repository:
        tags = repository.tags() if all_tags else [""]
        if not tags:
            raise NotFound(attempt, "the repository has no tags", "look at its name")
        for tag in tags:
            one = Reference(reference.name, tag) if tag else reference
            image, is_newer = pulling.pull(home, repository, one, taken, told, warn)
            newer |= is_newer
            # Docker tells the name that was asked for, where other events have the id
            events.emit(home, "image", "pull", one.familiar, image.told(one.name)[1])
    shown = reference.name if all_tags else reference.familiar
    told.say(f"Status: {'Downloaded newer image' if newer else 'Image is up to date'} for {shown}")
    return whole(Reference(reference.name, "") if all_tags else reference)


def push(
    name: str, *, all_tags: bool = False, way: Way | None = None, told: Listener | None = None,
    progress: Progress | None = None, warn: Warn | None = None,
) -> str:  # fmt: skip
    """Have a registry get an image, or all that have a name of one repository.

    Args:
        name: of the image, or of the repository.
        all_tags: whether all are to go.
        way: how the registry is reached.
        told: of what happens.
        progress: of layers that are packed first: see image/source.py.
        warn: told what was left out of a layer.

    Returns:
        The whole name of what was pushed.

    Raises:
        NotFound: there is no such image.
        MinirunError: the registry does not have it.
    """
    reference, told = parse(name), told or Listener()
    if reference.digest:
        raise BadInput(f"push {name}", "what goes gets its digest from its contents", "name it by a tag")
    if all_tags and has_tag(name):
        raise BadInput(f"push {name}", "-a sends all tags, and one was named", f"`minirun push -a {reference.name}`")
    attempt = f"push {reference.name if all_tags else reference.familiar}"
    home = open_home()
    references = _tagged(home, reference.name, attempt) if all_tags else [reference]
    if not all_tags:
        Images(home).get(reference)
    told.say(f"The push refers to repository [{whole(Reference(reference.name, ''))}]")
    with Attempt(attempt), closing(_repository(reference, attempt, way)) as repository:
        for one in references:
            _push(home, repository, one, told, progress, warn)
    return whole(Reference(reference.name, "") if all_tags else reference)


def _push(
    home: Home, repository: Repository, reference: Reference, told: Listener, progress: Progress | None,
    warn: Warn | None,
) -> None:  # fmt: skip
    with Operation(home) as operation:
        lock = files.lock(home.lock, exclusive=False)
        try:
            image = Images(home).get(reference)
            leaving = departure.make_ready(
                home, operation, image, [reference], accepted=_PACKED, progress=progress, warn=warn
            )
            others = pushing.known(home, repository.client.address)
        finally:
            os.close(lock)
        digest = pushing.push(repository, reference.tag, leaving, others, told)
        departure.tidy(home, operation)
    _remember(home, leaving.id, f"{reference.name}@{digest}")
    events.emit(home, "image", "push", reference.familiar, image.told(reference.name)[1])


def _remember(home: Home, image_id: str, repo_digest: str) -> None:
    """Note on an image what a registry calls it, if it is still there."""
    lock = files.lock(home.lock, exclusive=False)
    try:
        images = Images(home)
        image = images.get(f"sha256:{image_id}")
        image.digest, image.repo_digests = "", [repo_digest]
        images.put(image)
    except NotFound:
        pass  # it left with another id than it has, or was removed meanwhile
    finally:
        os.close(lock)


def _tagged(home: Home, name: str, attempt: str) -> list[Reference]:
    found = [parse(tag) for tags in Images(home).tags().values() for tag in tags]
    own = sorted((one for one in found if one.name == name), key=lambda one: one.tag)
    if not own:
        raise NotFound(attempt, "no image has a name of that repository", f"`minirun tag IMAGE {name}:TAG` gives one")
    return own


def _repository(reference: Reference, attempt: str, way: Way | None) -> Repository:
    address, name = of_image(reference)
    account = accounts.find(address, name, os.environ)
    return Repository((way or Way()).client(address, attempt, account), name)
