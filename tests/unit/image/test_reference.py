"""Names of images are read as Docker reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.errors import BadInput
from minirun.image.reference import is_digest, of_file_name, parse

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "familiar"),
    [
        ("ubuntu", "ubuntu:latest"),
        ("ubuntu:24.04", "ubuntu:24.04"),
        ("library/ubuntu", "ubuntu:latest"),
        ("docker.io/library/ubuntu", "ubuntu:latest"),
        ("index.docker.io/library/ubuntu:x", "ubuntu:x"),
        ("docker.io/team/app", "team/app:latest"),
        ("team/app:1.2", "team/app:1.2"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/x/y:tag", "localhost:5000/x/y:tag"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("Registry.Example.COM/app", "Registry.Example.COM/app:latest"),
        ("HOST/app", "HOST/app:latest"),
        ("quay.io/library/x", "quay.io/library/x:latest"),
        ("a/library/x", "a/library/x:latest"),
        ("a__b/c---d/e_f.g", "a__b/c---d/e_f.g:latest"),
        ("x:_A.b-c", "x:_A.b-c"),
        ("x@" + DIGEST, "x@" + DIGEST),
        ("x:1@" + DIGEST, "x:1@" + DIGEST),
        ("12/3", "12/3:latest"),
    ],
)
def test_a_name_is_told_as_docker_tells_it(text: str, familiar: str) -> None:
    assert parse(text).familiar == familiar
    assert parse(parse(text).familiar) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "/", "@", "x:", ":x", "x@", "x@sha256:12", "x@md5:" + "a" * 32, "x@" + DIGEST.upper(), "/x", "x/",
        "a//b", "../x", "x/../y", "./x", ".", "..", "x/.", "Ubuntu", "team/App", "-x", "x-", "_x", "x_", ".x", "a..b",
        "a___b", "a._b", "a_-b", "a b", "a\nb", "a\0b", "a%2Fb", "é", "x:é", "x:-1", "x:.1", "x:a b", "x:1:2",
        "x:" + "t" * 129, "a" * 64, "n" * 256, "-host.io/x", "host-.io/x", "a..io/x", "host:port/x", "host:/x",
        "[::1]:5000/x", "٣", "x:٣", "/".join("a" * 100), "https://x/y",
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(BadInput) as refusal:
        parse(text)
    assert refusal.value.reason
    assert "localhost:5000/app" in refusal.value.remedy


def test_a_file_name_is_one_component_and_gives_the_name_back() -> None:
    reference = parse("localhost:5000/x/y:tag")
    assert reference.file_name == "localhost:5000%2Fx%2Fy:tag"
    assert of_file_name(reference.file_name) == reference.familiar


@given(st.text(alphabet="aA0._-/:@%~ \0é", max_size=20))
def test_no_text_becomes_a_file_name_that_leaves_the_folder(text: str) -> None:
    try:
        reference = parse(text)
    except BadInput:
        return
    assert "/" not in reference.file_name
    assert not reference.file_name.startswith(".")
    assert len(reference.file_name) <= 255
    assert of_file_name(reference.file_name) == f"{reference.name}:{reference.tag}"


def test_only_a_digest_in_lower_case_hexadecimal_may_become_a_path() -> None:
    assert is_digest(DIGEST)
    for other in (
        "sha256:../../x",
        "sha256:" + "A1" * 32,
        "sha256:" + "a" * 63,
        "sha512:" + "a" * 64,
        DIGEST + "\n",
        5,
        None,
    ):
        assert not is_digest(other)
