"""-v, --mount, --tmpfs and --volumes-from: Docker's words, what they mean, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from minirun.container import mountflags
from minirun.container.mounts import Mount
from minirun.errors import BadInput, MinirunError, Unsupported
from minirun.kernel.names import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY

BARRED = int(MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID)


def read(**flags: Any) -> dict[str, Any]:
    return mountflags.read({name.replace("_", "-"): value for name, value in flags.items()})


def one(*, volume: str = "", mount: str = "") -> dict[str, Any]:
    """The only mount of one flag, without what asked for it."""
    (entry,) = read(volume=[volume] if volume else [], mount=[mount] if mount else [])["volumes"]
    return {key: value for key, value in entry.items() if key not in ("flag", "mode")}


def test_a_path_is_a_bind(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    bind = {"type": "bind", "source": str(tmp_path), "create": True}
    assert one(volume=f"{tmp_path}/link:/a/../b/") == {**bind, "target": "/b"}
    assert one(volume=f"{tmp_path}:/c:ro") == {**bind, "target": "/c", "read_only": True}
    assert one(volume=f"{tmp_path}:/c:O") == {**bind, "target": "/c", "overlay": True}
    assert one(volume=f"{tmp_path}:/c:rw,rslave") == {**bind, "target": "/c", "propagation": "rslave"}
    assert one(volume=f"{tmp_path}:/c:noexec,nosuid")["attributes"] == MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID
    assert one(volume=f"{tmp_path}:/c:bind")["recursive"] == "disabled"
    assert one(volume=f"{tmp_path}/missing/deep:/c")["source"] == f"{tmp_path}/missing/deep"


def test_a_relative_path_begins_where_the_caller_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert one(volume="./x:/x")["source"] == os.path.realpath(tmp_path / "x")
    assert one(volume=".:/x")["source"] == os.path.realpath(tmp_path)


def test_a_name_is_a_volume_and_a_target_alone_an_anonymous_one() -> None:
    assert one(volume="db.1:/d:ro,nocopy") == {
        "type": "volume", "target": "/d", "name": "db.1", "read_only": True, "no_copy": True
    }  # fmt: skip
    assert one(volume="/d/") == {"type": "volume", "target": "/d", "anonymous": True}


@pytest.mark.parametrize(
    ("text", "kind"),
    [("a", BadInput), ("x:/x", BadInput), ("a/b:/x", BadInput), (".x:y", BadInput), ("_a:/x", BadInput),
     ("", BadInput), ("é1:/x", BadInput), ("a" * 256 + ":/x", BadInput), ("name:/x:rslave", BadInput),
     ("/tmp:x", BadInput), ("/tmp:", BadInput), (":", BadInput), ("/tmp:/x:ro:", BadInput), ("/tmp:/", BadInput),
     ("/tmp:/proc", BadInput), ("/tmp://proc/self", BadInput), ("/tmp:/a/../proc/1", BadInput),
     ("/tmp:/x\0y", BadInput), ("/tmp\0x:/x", BadInput), ("/etc/passwd/x:/x", BadInput), ("/tmp:/x:rw,ro", BadInput),
     ("/tmp:/x:nocopy", BadInput), ("/proc", BadInput), ("/tmp:/x:O,ro", BadInput), ("/tmp:/x:O,rslave", BadInput),
     ("/tmp:/x:shared,slave", BadInput), ("/tmp:/x:what", BadInput), ("/tmp:/x:U", Unsupported),
     ("/tmp:/x:cached", Unsupported), ("/tmp:/x:idmap=uids=0-1-9", Unsupported), ("/tmp:/x:dev", Unsupported),
     ("/tmp:/x:O,upperdir=/y", Unsupported)],
)  # fmt: skip
def test_what_is_no_volume_is_refused(text: str, kind: type[MinirunError]) -> None:
    with pytest.raises(kind) as refusal:
        read(volume=[text])
    assert type(refusal.value) is kind


def test_a_link_to_nothing_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(BadInput, match="is a link to"):
        read(volume=[f"{tmp_path}/link:/x"])


def test_relabelling_needs_no_selinux_and_is_refused_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mountflags, "_SELINUX", str(tmp_path / "enforce"))
    assert one(volume="/tmp:/x:z,ro")["read_only"] is True
    (tmp_path / "enforce").write_text("1")
    for option in ("z", "Z"):
        with pytest.raises(Unsupported, match="SELinux"):
            read(volume=[f"/tmp:/x:{option}"])


def test_mount_says_the_same_at_length(tmp_path: Path) -> None:
    bind = {"type": "bind", "source": str(tmp_path), "target": "/x"}
    assert one(mount=f"type=bind,src={tmp_path},dst=/x") == bind
    assert one(mount=f"type=bind,source={tmp_path},destination=/x,readonly") == {**bind, "read_only": True}
    assert one(mount=f"type=bind,source={tmp_path},target=/x,ro=false") == bind
    assert one(mount=f"type=bind,src={tmp_path},dst=/x,bind-propagation=rshared")["propagation"] == "rshared"
    assert one(mount=f"type=bind,src={tmp_path},dst=/x,bind-nonrecursive")["recursive"] == "disabled"
    assert one(mount=f"type=bind,src={tmp_path},dst=/x,ro,bind-recursive=writable")["recursive"] == "writable"
    assert one(mount=f"type=bind,src={tmp_path},dst=/x,ro,bind-recursive=readonly") == {**bind, "read_only": True}
    assert one(mount=f"type=bind,src={tmp_path}/new,dst=/x,bind-create-src")["create"] is True
    assert one(mount="src=db,dst=/x") == {"type": "volume", "name": "db", "target": "/x"}
    assert one(mount="dst=/x") == {"type": "volume", "anonymous": True, "target": "/x"}
    text = 'src=db,dst=/x,volume-nocopy,volume-subpath=a/./b,volume-label=k=v,volume-label=e,"volume-opt=o=size=1m,ro"'
    assert one(mount=f"{text},volume-opt=type=tmpfs,volume-opt=device=tmpfs") == {
        "type": "volume", "name": "db", "target": "/x", "no_copy": True, "subpath": "a/b",
        "labels": {"k": "v", "e": ""}, "driver_options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,ro"},
    }  # fmt: skip
    assert read(mount=["type=tmpfs,dst=/x,tmpfs-size=64k,tmpfs-mode=700", "type=tmpfs,dst=/y,readonly"])["tmpfs"] == [
        ["/x", [["mode", "700"], ["size", "65536"]], BARRED],
        ["/y", [["mode", "1777"]], BARRED | MOUNT_ATTR_RDONLY],
    ]


def test_a_field_of_mount_may_be_quoted(tmp_path: Path) -> None:
    odd = tmp_path / 'a,"b'
    odd.mkdir()
    quoted = str(odd).replace('"', '""')
    assert one(mount=f'type=bind,"src={quoted}",dst=/x')["source"] == str(odd)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("type=bind,dst=/x", BadInput), ("type=bind,src=name,dst=/x", BadInput),
     ("type=bind,src=/no/such,dst=/x", BadInput), ("type=bind,src=/tmp", BadInput),
     ("type=bind,src=/tmp,dst=x", BadInput), ("type=bind,src=/tmp,dst=/proc", BadInput),
     ("type=bind,src=/tmp,dst=/x,volume-nocopy", BadInput), ("type=tmpfs,src=/x,dst=/x", BadInput),
     ("type=tmpfs,dst=/x,tmpfs-mode=9", BadInput), ("type=tmpfs,dst=/x,tmpfs-size=x", BadInput),
     ("type=bind,src=/tmp,dst=/x,bind-propagation=x", BadInput),
     ("type=bind,src=/tmp,dst=/x,bind-recursive=x", BadInput),
     ("type=bind,src=/tmp,dst=/x,bind-recursive=readonly", BadInput), ("type=bind,src=/tmp,dst=/x,dst=/y", BadInput),
     ("type=bind,src=/tmp,dst=/x,ro,bind-recursive=readonly,bind-propagation=rslave", BadInput),
     ("type=what,dst=/x", BadInput), ("type=volume,src=x,dst=/x", BadInput),
     ("src=db,dst=/x,volume-subpath=../x", BadInput),
     ("src=db,dst=/x,volume-subpath=/x", BadInput), ("src=db,dst=/x,what=1", BadInput), ("", BadInput), (",", BadInput),
     ('"dst=/x', BadInput), ('"dst=/x"y', BadInput), ("dst=/x,readonly=maybe", BadInput), ("dst=/x,ro=", BadInput),
     ("dst=/x,volume-opt=type=nfs", Unsupported), ("dst=/x,volume-driver=x", Unsupported),
     ("type=image,src=x,dst=/x", Unsupported), ("type=bind,src=/tmp,dst=/x,consistency=cached", Unsupported)],
)  # fmt: skip
def test_what_is_no_mount_is_refused(text: str, kind: type[MinirunError]) -> None:
    with pytest.raises(kind) as refusal:
        read(mount=[text])
    assert type(refusal.value) is kind


def test_one_place_has_one_mount() -> None:
    for flags in (
        {"volume": ["/tmp:/x", "/etc:/x/"]}, {"volume": ["/x"], "tmpfs": ["/x"]},
        {"volume": ["/tmp:/x"], "mount": ["type=tmpfs,dst=/x"]},
    ):  # fmt: skip
        with pytest.raises(BadInput, match="two mounts"):
            read(**flags)


def test_a_tmpfs_has_dockers_flags_and_options() -> None:
    assert read(tmpfs=["/a", "/b:size=64m,mode=700,ro,exec,suid", "/c:rw,noexec"])["tmpfs"] == [
        ["/a", [["mode", "1777"]], BARRED],
        ["/b", [["mode", "700"], ["size", "64m"]], int(MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY)],
        ["/c", [["mode", "1777"]], BARRED],
    ]
    for text in ("/a:dev", "/a:size", "/a:size=", "/a:mode=1,what", "a", "/proc/x", "/"):
        with pytest.raises(BadInput):
            read(tmpfs=[text])


def test_containers_to_take_mounts_from_are_kept_as_they_were_given() -> None:
    assert read(volumes_from=["a", "b:ro", "c:rw"])["volumes_from"] == ["a", "b:ro", "c:rw"]
    for text in ("", ":ro", "a:z", "a:ro:rw"):
        with pytest.raises(BadInput):
            read(volumes_from=[text])


def test_records_made_before_there_were_volumes_are_read() -> None:
    mount = Mount.read(["/srv", "/data", True])
    assert (mount.type, mount.source, mount.target, mount.read_only, mount.propagation) == (
        "bind", "/srv", "/data", True, "rprivate"
    )  # fmt: skip
    assert Mount.read(mount.to_json()).to_json() == mount.to_json()
