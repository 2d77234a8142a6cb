"""The flags of `run`, read without click by Docker's rules."""

from __future__ import annotations

from typing import Any

import pytest

from minirun.cli import flags
from minirun.errors import BadInput, Unsupported


@pytest.mark.parametrize(
    ("line", "values", "rest"),
    [
        ("image", {}, ["image"]),
        ("-it image sh -c x", {"interactive": True, "tty": True}, ["image", "sh", "-c", "x"]),
        ("--rm --name=a image --rm", {"rm": True, "name": "a"}, ["image", "--rm"]),
        ("--name a image", {"name": "a"}, ["image"]),
        ("-eA=b -e C --env D=e image", {"env": ["A=b", "C", "D=e"]}, ["image"]),
        ("-e=A=b image", {"env": ["A=b"]}, ["image"]),
        ("-itu 1000 image", {"interactive": True, "tty": True, "user": "1000"}, ["image"]),
        ("--rm=false --init=TRUE image", {"rm": False, "init": True}, ["image"]),
        ("--entrypoint= image", {"entrypoint": ""}, ["image"]),
        ("--rm -- -image", {"rm": True}, ["-image"]),
        ("-", {}, ["-"]),
        ("-h host image", {"hostname": "host"}, ["image"]),
        # Docker has these, too, and tells nobody
        ("--net a --network=b image", {"network": ["a", "b"]}, ["image"]),
        ("--net-alias db --dns-opt ndots:2 image", {"network-alias": ["db"], "dns-option": ["ndots:2"]}, ["image"]),
    ],
)
def test_flags_are_read_up_to_the_image(line: str, values: dict[str, Any], rest: list[str]) -> None:
    assert flags.parse(line.split(" "), flags.RUN) == (values, rest)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--nome image", "there is none of that name"),
        ("-itZ image", "there is none of that name"),
        ("--name", "it needs a value"),
        ("-e", "it needs a value"),
        ("--rm=perhaps image", "a switch is true or false"),
    ],
)
def test_a_flag_that_is_none_is_refused(line: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        flags.parse(line.split(), flags.RUN)


@pytest.mark.parametrize("line", ["--gpus all image", "--quiet image", "--name a --runtime=runc image"])
def test_a_flag_that_only_docker_has_is_refused_as_one(line: str) -> None:
    with pytest.raises(Unsupported, match="not built in this version"):
        flags.parse(line.split(), flags.RUN)
