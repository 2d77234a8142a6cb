"""JSON documents that come from outside: read whole, or not at all."""

from __future__ import annotations

from minirun.errors import BadLayer
from minirun.kernel import jsonfile

DEPTH = 100  # of lists and objects; a record that holds it must be read at any depth of calls
VALUES = 250_000  # in one document, each of which takes some hundred bytes when it is read; thousands are many


def parse(data: bytes, where: str) -> object:
    """The JSON document *data*.

    Args:
        data: as it came.
        where: what it is, for the refusal.

    Raises:
        BadLayer: it is not JSON, is nested too deeply, or has numbers that JSON has not.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > VALUES:  # as many as there are values, or more
        raise BadLayer(f"read {where}", f"it may hold more than {VALUES} values", "the image is damaged, or means harm")
    try:
        document: object = jsonfile.loads(data.decode())
        _check(document)
    except ValueError as error:
        raise BadLayer(f"read {where}", f"it is not JSON: {error}", "mend that file") from None
    return document


def _check(document: object) -> None:
    level = [document]
    for _ in range(DEPTH):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, float) and value in (float("inf"), float("-inf")):
                raise ValueError("a number is too large")
        level = below
        if not level:
            return
    raise ValueError(f"more than {DEPTH} lists and objects are nested")
