"""Random stacks of layers that every tool understands alike, for tests that compare what tools make of them.

    Wanted, Wanted, …  ──▶  settle: what each would do to the tree so far  ──▶  tars, bottom to top
                            ╰ what tools differ about is left out

What is left out, because tools have different answers:

entries whose names go through a symlink or a file     followed, replaced or refused
marks in a directory that is not there, or that is     docker makes the directory, umoci does not
  hidden by an opaque mark that follows
hardlinks to a file of several names in a lower layer  overlayfs copies up one of its names
missing parents in a setgid directory                  umoci lets them inherit it; others: 0755 root
whiteout or opaque over a directory that the layer     the order of entries decides what it is like, or not
  puts something into without an entry for itself
xattrs without a value                                 Go reads that as: no such record
what the kernel gives no file of that kind             dropped with a warning, or refused
negative times, device 0:0, trusted.overlay.*          see test_layer_rules.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from stat import S_IFBLK, S_IFCHR, S_ISGID

from hypothesis import strategies as st

from tests import tars

TYPES = {"file": b"0", "link": b"1", "symlink": b"2", "character": b"3", "block": b"4", "directory": b"5", "fifo": b"6"}
DEVICES = {"character": S_IFCHR, "block": S_IFBLK}
# often the same ones, so that layers meet
_COMPONENTS = st.sampled_from([*(b"a", b"b") * 5, b"c", b"\xff\xfe", b"new\nline", b"n" * 120, b"m" * 255, b"..."])
_NAMES = st.lists(_COMPONENTS, min_size=1, max_size=3).map(b"/".join)
_TARGETS = st.sampled_from([b"a", b"b/c", b"/a", b"../../x", b"\xff", b".", b"t/" * 90, b"nowhere\n"])
_OWNERS = st.sampled_from([0, 0, 1, 1000, 0o7777777, 0o10000000, 4294967294])
_TIMES = st.one_of(st.integers(0, 2**33 * 10**9), st.integers(0, 2**31).map(lambda seconds: seconds * 10**9))
_XATTRS = st.dictionaries(
    st.sampled_from([b"user.a", b"user.b", b"trusted.c", b"security.capability"]),
    st.binary(min_size=1, max_size=30),
    max_size=2,
)
_CAPABILITY = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)
_KINDS = st.sampled_from(
    [*("file", "directory", "whiteout") * 3, *("symlink", "link", "opaque") * 2, "character", "block", "fifo"]
)


@dataclass(frozen=True)
class Wanted:
    """An entry of a layer, if it can be one; *form* and *lead*: how it is said; *pick* chooses among what is there."""

    name: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict[bytes, bytes]
    content: bytes
    target: bytes
    pick: int
    form: str
    lead: bytes


WANTED = st.builds(
    Wanted,
    name=_NAMES,
    kind=_KINDS,
    mode=st.integers(0, 0o7777),
    uid=_OWNERS,
    gid=_OWNERS,
    mtime_ns=_TIMES,
    xattrs=_XATTRS,
    content=st.one_of(st.binary(max_size=1500), st.integers(1, 70_000).map(lambda count: b"x" * count)),
    target=_TARGETS,
    pick=st.integers(0, 99),
    form=st.sampled_from(["ustar", "pax", "gnu"]),
    lead=st.sampled_from([b"", b"", b"./", b"/"]),
)
ROOTS = st.builds(
    Wanted, name=st.just(b""), kind=st.just("directory"), mode=st.integers(0, 0o7777), uid=_OWNERS, gid=_OWNERS,
    mtime_ns=_TIMES, xattrs=_XATTRS, content=st.just(b""), target=st.just(b""), pick=st.just(0), form=st.just("pax"),
    lead=st.sampled_from([b"./", b"."]),
)  # fmt: skip
LAYERS = st.builds(
    lambda root, rest: root + rest, st.lists(ROOTS, max_size=1), st.lists(WANTED, min_size=1, max_size=12)
)
STACKS = st.lists(LAYERS, min_size=1, max_size=4)


@dataclass(eq=False)
class Inode:
    """What is known of a file so far: what said it, and in which layer that was."""

    said: Wanted
    layer: int
    kind: str
    mode: int


@dataclass
class Tree:
    """What a stack has come to.

    Attributes:
        nodes: by name, without the root.
        implied: directories that no entry speaks of.
        stirred: directories in which something was made or removed since an entry spoke of them, and the root that has
            none: what time they get differs.
        own: what the current layer has, directories that its names go through among it.
        spoken: what it has entries of.
        marked: directories that it has not, but marks in them.
    """

    nodes: dict[bytes, Inode] = field(default_factory=dict)
    implied: set[bytes] = field(default_factory=set)
    stirred: set[bytes] = field(default_factory=lambda: {b""})
    own: set[bytes] = field(default_factory=set)
    spoken: set[bytes] = field(default_factory=set)
    marked: set[bytes] = field(default_factory=set)
    layer: int = 0
    root_mode: int = 0o755

    @property
    def timeless(self) -> set[bytes]:
        """Directories to which tools give different times."""
        return self.implied | self.stirred

    def admit(self, wanted: Wanted) -> bytes | None:
        """Do what an entry says; None where it is one of those that tools differ about."""
        name, kind = wanted.name, wanted.kind
        if not name:
            self.stirred.discard(b"")
            self.root_mode = wanted.mode
            return written(wanted)
        if kind == "whiteout":
            return self.white_out(wanted)
        if kind == "opaque":
            return self.make_opaque(wanted)
        if any(parent in self.nodes and self.nodes[parent].kind != "directory" for parent in parents(name)):
            return None
        above = name.rpartition(b"/")[0]
        over = next((parent for parent in parents(name) if parent in self.nodes), b"")
        if above != over and (self.nodes[over].mode if over else self.root_mode) & S_ISGID:
            return None
        inode = Inode(wanted, self.layer, kind, wanted.mode)
        link = b""
        if kind == "link":
            linkable = [other for other in sorted(self.nodes) if self.linkable(other, name)]
            if not linkable:
                return None
            link = linkable[wanted.pick % len(linkable)]
            inode = self.nodes[link]
            inode.layer = self.layer  # it is copied up
        present = self.nodes.get(name)
        if present is not None and (present.kind, kind) != ("directory", "directory"):
            self.remove(name)
        missing = [parent for parent in parents(name) if parent not in self.nodes]
        if missing:
            self.stirred.add(over)
        for parent in parents(name):
            if parent in missing:
                self.nodes[parent] = Inode(wanted, self.layer, "directory", 0o755)
                self.implied.add(parent)
            self.own.add(parent)
        self.nodes[name] = inode
        self.own.add(name)
        self.spoken.add(name)
        self.implied.discard(name)
        self.stirred.discard(name)
        if link:
            return written(wanted, link=link, of=inode.said)
        return written(wanted)

    def white_out(self, wanted: Wanted) -> bytes | None:
        """Take away what a lower layer has; what the same layer has stays, before and after."""
        name = wanted.name
        if name not in self.nodes or wanted.pick % 8:
            there = sorted(self.nodes.keys() - self.own) or sorted(self.nodes)
            if not there:
                return None
            name = there[wanted.pick % len(there)]
        if name in self.own - self.spoken or self.keeps_implied(name):
            return None
        above, _, last = name.rpartition(b"/")
        if name in self.own:
            self.hide(name)
        else:
            self.remove(name)
            self.stirred.add(above)
            self.mark(above)
        return written(wanted, name=(above + b"/" if above else b"") + b".wh." + last)

    def make_opaque(self, wanted: Wanted) -> bytes | None:
        """Take away everything that lower layers have in a directory."""
        folders = [b"", *sorted(name for name, inode in self.nodes.items() if inode.kind == "directory")]
        name = folders[wanted.pick % len(folders)]
        if self.keeps_implied(name) or any(below.startswith(name + b"/" if name else b"") for below in self.marked):
            return None
        self.hide(name)
        self.mark(name)
        return written(wanted, name=(name + b"/" if name else b"") + b".wh..wh..opq")

    def hide(self, folder: bytes) -> None:
        """Take away everything in *folder* that this layer does not have."""
        inside = folder + b"/" if folder else b""
        for name in [name for name in self.nodes if name.startswith(inside) and name not in self.own]:
            self.remove(name)
        self.stirred |= {name for name in self.own if name.startswith(inside)} | {folder}

    def mark(self, folder: bytes) -> None:
        """Note that there is a mark in *folder*."""
        self.marked |= {name for name in (folder, *parents(folder)) if name and name not in self.own}

    def keeps_implied(self, folder: bytes) -> bool:
        """Whether this layer has something in a directory below *folder* that only a lower layer speaks of."""
        inside = folder + b"/" if folder else b""
        return any(name.startswith(inside) for name in self.own - self.spoken - self.implied)

    def linkable(self, target: bytes, name: bytes) -> bool:
        """Whether *name* may become another name of *target*."""
        inode = self.nodes[target]
        if inode.kind == "directory" or target == name or target.startswith(name + b"/"):
            return False
        return inode.layer == self.layer or sum(other is inode for other in self.nodes.values()) == 1

    def remove(self, name: bytes) -> None:
        """Take away *name* and everything below it."""
        for other in [other for other in self.nodes if other == name or other.startswith(name + b"/")]:
            del self.nodes[other]
            self.own.discard(other)
            self.spoken.discard(other)
            self.implied.discard(other)
            self.stirred.discard(other)


def settle(layers: Iterable[Iterable[Wanted]]) -> tuple[list[bytes], Tree]:
    """The tars of what can be said of *layers*, bottom to top, and what they come to."""
    tree = Tree()
    blobs = []
    for tree.layer, layer in enumerate(layers):
        tree.own, tree.spoken, tree.marked = set(), set(), set()
        blobs.append(tars.tar(*(entry for wanted in layer if (entry := tree.admit(wanted)) is not None)))
    return blobs, tree


def parents(name: bytes) -> Iterator[bytes]:
    """The directories above *name*, but for the root."""
    while b"/" in name:
        name = name.rpartition(b"/")[0]
        yield name


def written(wanted: Wanted, *, name: bytes | None = None, link: bytes = b"", of: Wanted | None = None) -> bytes:
    """The entry of *wanted*: under another name, or as a hardlink to *link*, which has the metadata of *of*."""
    said = of or wanted
    kind = "file" if wanted.kind in ("whiteout", "opaque") else wanted.kind
    path = wanted.lead + (wanted.name if name is None else name)
    if kind == "directory" and path[-1:] != b"/" and wanted.pick % 2:
        path += b"/"
    content = wanted.content if wanted.kind == "file" else b""
    target = wanted.lead.replace(b"./", b"") + link if link else wanted.target if kind == "symlink" else b""
    seconds, nanoseconds = divmod(said.mtime_ns, 10**9)
    records = [(b"mtime", b"%d.%09d" % (seconds, nanoseconds))] if nanoseconds or seconds > 0o77777777777 else []
    records += [
        (b"SCHILY.xattr." + key, _CAPABILITY if key.startswith(b"security") else value)
        for key, value in said.xattrs.items()
        if may_have(said.kind, key)
    ]
    owner: list[int | bytes] = []
    for key, number in ((b"uid", said.uid), (b"gid", said.gid)):
        if number <= 0o7777777:
            owner.append(number)
        elif wanted.form == "gnu":
            owner.append(b"\x80" + number.to_bytes(7, "big"))
        else:
            owner.append(0)
            records.append((key, b"%d" % number))
    before = b""
    if wanted.form == "gnu":
        before = tars.long(path) + (tars.long(target, b"K") if target else b"")
    else:
        records += [(b"path", path)] * (len(path) > 100 or wanted.form == "pax")
        records += [(b"linkpath", target)] * (len(target) > 100 or (bool(target) and wanted.form == "pax"))
    return (
        before
        + (tars.pax(*records) if records else b"")
        + tars.header(
            path[:100],
            TYPES[kind],
            mode=0o777 if kind == "symlink" else said.mode,
            uid=owner[0],
            gid=owner[1],
            size=len(content),
            mtime=min(seconds, 0o77777777777),
            link=target[:100],
            device=(1 + wanted.pick, wanted.pick * 3) if kind in DEVICES else (0, 0),
        )
        + tars.padded(content)
    )


def may_have(kind: str, xattr: bytes) -> bool:
    """Whether the kernel lets a file of this kind have *xattr*: see xattr(7)."""
    if xattr.startswith(b"trusted."):
        return True
    return kind == "file" or (kind == "directory" and xattr.startswith(b"user."))
