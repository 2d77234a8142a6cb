r"""Files with holes in a tar: where the stored bytes belong, in the four ways in which GNU tar has said so.

    old GNU    type S    4 pairs in the header, 21 in each block that follows it, all octal
    pax 0.0              GNU.sparse.offset, GNU.sparse.numbytes, again and again
    pax 0.1              GNU.sparse.map=offset,length,offset,length,…
    pax 1.0              the map leads the data: "2\n0\n512\n1048576\n512\n", padded to 512

See "Storing Sparse Files" in the manual of GNU tar.
"""

from __future__ import annotations

from minirun.layer.field import Malformed, decimal, octal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

REGIONS_MAX = 1 << 16
SIZE_MAX = 1 << 44  # 16 TiB: ext4 has no longer files, and a hole costs whoever packs it again its whole length

Regions = list[tuple[int, int]]


def read_gnu(header: bytes, block: Callable[[], bytes]) -> tuple[int, Regions]:
    """Read the map of an entry of type S.

    Returns:
        The size of the whole file and the regions that have data.
    """
    numbers: list[int] = []

    def pairs(fields: bytes) -> None:
        for at in range(0, len(fields) - 23, 24):
            if fields[at]:
                numbers.extend((octal(fields[at : at + 12]), octal(fields[at + 12 : at + 24])))

    pairs(header[386:482])
    more = header[482]
    for _block in range(REGIONS_MAX // 21):
        if not more:
            break
        further = block()
        pairs(further[:504])
        more = further[504]
    if more:
        raise Malformed(f"a sparse file of more than {REGIONS_MAX} pieces")
    return octal(header[483:495]), _paired(numbers)


def read_pax(records: list[tuple[bytes, bytes]], stored: int, block: Callable[[], bytes]) -> tuple[int, Regions]:
    """Read a map that pax records hold or announce.

    Args:
        records: (key, value) without the prefix GNU.sparse.
        stored: size of the entry's data, which is the file's where the records say nothing else.
        block: takes the next 512 bytes of the entry's data.
    """
    last = dict(records)
    size = decimal(last.get(b"realsize") or last.get(b"size") or b"%d" % stored)
    if last.get(b"major", b"0") != b"0":
        if (last[b"major"], last.get(b"minor")) != (b"1", b"0"):
            raise Malformed("a sparse file of an unknown version")
        return size, _leading_map(block)
    if b"map" in last:
        texts = last[b"map"].split(b",") if last[b"map"] else []
    else:
        texts = [value for key, value in records if key in (b"offset", b"numbytes")]
        keys = [key for key, _value in records if key in (b"offset", b"numbytes")]
        if keys != [b"offset", b"numbytes"] * (len(keys) // 2):
            raise Malformed("a sparse map out of order")
        if not keys and b"numblocks" not in last:
            return size, [(0, stored)]
    if len(texts) > 2 * REGIONS_MAX:
        raise Malformed(f"a sparse file of more than {REGIONS_MAX} pieces")
    return size, _paired([decimal(text) for text in texts])


def _leading_map(block: Callable[[], bytes]) -> Regions:
    numbers: list[int] = []
    wanted = 1
    rest = b""
    while len(numbers) < wanted:
        *lines, rest = (rest + block()).split(b"\n")
        numbers.extend(decimal(line) for line in lines[: wanted - len(numbers)])
        if wanted == 1 and numbers:
            if numbers[0] > REGIONS_MAX:
                raise Malformed(f"a sparse file of more than {REGIONS_MAX} pieces")
            wanted = 1 + 2 * numbers[0]
            numbers.extend(decimal(line) for line in lines[1:wanted])
        if len(rest) > 512:
            raise Malformed("a sparse map without numbers")
    return _paired(numbers[1:])


def _paired(numbers: list[int]) -> Regions:
    if len(numbers) % 2:
        raise Malformed("a sparse map with half a pair")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def check(regions: Regions, size: int, stored: int) -> None:
    """Insist that *regions* follow each other inside *size* bytes and take exactly the *stored* ones.

    Raises:
        Malformed: they do not.
    """
    end = 0
    for offset, length in regions:
        if offset < end or length < 0:
            raise Malformed("a sparse map out of order")
        end = offset + length
    if size > SIZE_MAX:
        raise Malformed(f"File too large: {size} bytes; {SIZE_MAX} are allowed")
    if end > size or size < 0:
        raise Malformed("a sparse map that goes beyond its file")
    if sum(length for _offset, length in regions) != stored:
        raise Malformed("a sparse map that does not fit its data")
