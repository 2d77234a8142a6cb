"""Where things live on disk: typed paths only, nothing is opened or made here except the two roots.

MINIRUN_ROOT (/var/lib/minirun)          MINIRUN_RUNTIME (/run/minirun); of an ordinary user: see caller.py
├── diffs/<name>/       layer contents   ├── root/   where each container attaches its
├── layers/<id>.json    layer records    │           root file system, in its own mount
├── images/<id>.json    image records    │           namespace; always empty on the host
├── images/<id>.alias   symlink → …      ├── images/<id>/       an image that is mounted
├── blobs/<digest>      compressed …     ├── containers/<id>/   of one that has a keeper: see
├── lookup/<aa>/<id>    what finds an    │                      container/kept.py
│                       image by its id  ├── supervisor.{lock,wake}   who looks after those
├── tags/<name>         symlink → the    └── attendant{,.gate,.socket}   who answers for the
│                       image's record                                 names of containers
├── sources/<key>.json  what a directory held when it was last unpacked
├── containers/<id>/    container.json state.json upper/ work/
├── names/<name>        symlink → ../containers/<id>
├── volumes/<name>/     volume.json _data/: see container/volumes.py
├── networks/<name>.json   see network/record.py; its leases are in MINIRUN_RUNTIME/networks/<id>/
├── marks/<id>          unfinished operations and how to undo them (see journal.py)
├── tmp/                half-made things, each named by a mark
├── spare               room that is given up when a full disk has none left to remove things
└── lock                flock: shared while images are read, exclusive while they are deleted
"""

from __future__ import annotations

import os

from minirun import caller

SPARE_BYTES = 128 << 10
# the last is the youngest: where it is, all are
FOLDERS = (
    "diffs", "layers", "images", "tags", "sources", "containers", "names", "marks", "tmp", "blobs", "lookup", "volumes",
    "networks",
)  # fmt: skip


class Home:
    """The store and the runtime directory of one minirun.

    Attributes:
        root: absolute path of the store, mode 0700.
        runtime: absolute path of what need not survive a reboot.
    """

    __slots__ = ("root", "runtime")

    def __init__(self, root: str, runtime: str) -> None:
        self.root = os.path.abspath(root)
        self.runtime = os.path.abspath(runtime)

    @classmethod
    def of_environment(cls) -> Home:
        """The home that MINIRUN_ROOT and MINIRUN_RUNTIME name, or the default one."""
        get = os.environ.get
        root, runtime = get("MINIRUN_ROOT"), get("MINIRUN_RUNTIME")
        if caller.ROOTLESS:
            return cls(root or caller.store(), runtime or caller.runtime())
        return cls(root or "/var/lib/minirun", runtime or "/run/minirun")

    def create(self) -> None:
        """Make the folders that are missing; two quick stats when all are there.

        Raises:
            OSError: a folder could not be made.
        """
        if not os.path.isdir(f"{self.root}/{FOLDERS[-1]}"):
            os.makedirs(self.root, 0o700, exist_ok=True)
            os.chmod(self.root, 0o700)
            is_new = not os.path.isdir(self.folder("images"))
            for folder in FOLDERS:
                try:
                    os.mkdir(f"{self.root}/{folder}", 0o700)
                except FileExistsError:
                    pass
            if is_new:  # of no image at all each is noted: see image/lookup.py
                os.close(os.open(self.all_noted, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.keep_spare()
        if not os.path.isdir(self.attach_point):
            os.makedirs(self.attach_point, 0o700, exist_ok=True)

    def keep_spare(self) -> None:
        """Keep some room for removing things when there is no other; without a word where there is none to keep."""
        try:
            descriptor = os.open(self.spare, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.posix_fallocate(descriptor, 0, SPARE_BYTES)
        except OSError:
            os.unlink(self.spare)
        finally:
            os.close(descriptor)

    def give_up_spare(self) -> bool:
        """Free the room that `keep_spare` keeps; whether there was some."""
        try:
            os.unlink(self.spare)
        except OSError:
            return False
        return True

    @property
    def spare(self) -> str:
        """The file whose room is given up when removing things needs some."""
        return f"{self.root}/spare"

    @property
    def all_noted(self) -> str:
        """The file that says that every image is noted in lookup/."""
        return f"{self.root}/lookup/complete"

    @property
    def attach_point(self) -> str:
        """The empty directory on which a container, in its own mount namespace, attaches its root."""
        return f"{self.runtime}/root"

    @property
    def lock(self) -> str:
        """The file whose flock orders readers and deleters of images and layers."""
        return f"{self.root}/lock"

    def folder(self, name: str) -> str:
        """One of FOLDERS."""
        return f"{self.root}/{name}"

    def diff(self, name: str) -> str:
        """The directory that holds the contents of one layer, in overlayfs form."""
        return f"{self.root}/diffs/{name}"

    def layer(self, layer_id: str) -> str:
        """The record of one layer."""
        return f"{self.root}/layers/{layer_id}.json"

    def image(self, image_id: str) -> str:
        """The record of one image."""
        return f"{self.root}/images/{image_id}.json"

    def alias(self, image_id: str) -> str:
        """The symlink to the record of an image that everybody else calls *image_id*: see image/seal.py."""
        return f"{self.root}/images/{image_id}.alias"

    def container(self, container_id: str) -> str:
        """The directory of one container."""
        return f"{self.root}/containers/{container_id}"

    def kept(self, container_id: str) -> str:
        """The directory of what a container with a keeper needs while it runs."""
        return f"{self.runtime}/containers/{container_id}"

    @property
    def supervisor_lock(self) -> str:
        """The file whose flock the one supervisor holds."""
        return f"{self.runtime}/supervisor.lock"

    @property
    def supervisor_wake(self) -> str:
        """The FIFO that the supervisor reads: a byte means that there is something new to look at."""
        return f"{self.runtime}/supervisor.wake"

    @property
    def attendant(self) -> str:
        """The file whose flock the one attendant holds; it is there as long as somebody is to be the attendant."""
        return f"{self.runtime}/attendant"

    @property
    def attendant_gate(self) -> str:
        """The file whose flock orders those who need an attendant, and one that is about to end."""
        return f"{self.runtime}/attendant.gate"

    def name(self, name: str) -> str:
        """The symlink that reserves a container's name."""
        return f"{self.root}/names/{name}"

    def volume(self, name: str) -> str:
        """The directory of one volume."""
        return f"{self.root}/volumes/{name}"

    def network(self, name: str) -> str:
        """The record of one network."""
        return f"{self.root}/networks/{name}.json"

    def mark(self, key: str) -> str:
        """The mark of one unfinished operation."""
        return f"{self.root}/marks/{key}"

    def temporary(self, key: str) -> str:
        """A path for something half-made; the mark *key* says that it may be removed."""
        return f"{self.folder('tmp')}/{key}"
