"""What a command finds in its environment, and which of those who can say so has the last word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import busybox
from tests.command import Minirun


def environment(minirun: Minirun, *arguments: str | Path, env: dict[str, str] | None = None) -> dict[str, str]:
    """What /proc/self/environ says inside."""
    printed = minirun("run", "--rm", *arguments, "cat", "/proc/self/environ", env=env, check=True).stdout
    return dict(line.split("=", 1) for line in printed.rstrip("\0").split("\0"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that sets WHO, ONLY and PATH."""
    directory = tmp_path_factory.mktemp("image") / "image"
    busybox.tree(directory, {"Env": ["WHO=image", "ONLY=image", "PATH=/bin:/opt/bin"]})
    return directory


def test_a_bare_image_gets_path_hostname_and_home_and_nothing_of_the_callers(store: Minirun, tmp_path: Path) -> None:
    busybox.tree(tmp_path / "image")
    found = environment(store, "-h", "box", tmp_path / "image", env={"SECRET": "host's"})
    assert found == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": "box",
        "HOME": "/root",
    }


def test_the_image_says_what_its_path_is(store: Minirun, image: Path) -> None:
    assert environment(store, image)["PATH"] == "/bin:/opt/bin"


def test_home_is_that_of_the_user_unless_it_is_given(store: Minirun, image: Path) -> None:
    assert environment(store, "-u", "alice", image)["HOME"] == "/home/alice"
    assert environment(store, "-u", "4242", image)["HOME"] == "/"
    assert environment(store, "-u", "alice", "-e", "HOME=/mine", image)["HOME"] == "/mine"


def test_e_outdoes_env_file_which_outdoes_the_image(store: Minirun, image: Path, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("WHO=file\n")
    assert environment(store, image)["WHO"] == "image"
    assert environment(store, "--env-file", file, image)["WHO"] == "file"
    assert environment(store, "-e", "WHO=flag", "--env-file", file, image)["WHO"] == "flag"
    assert environment(store, "-e", "WHO=first", "-eWHO=last", image)["WHO"] == "last"
    assert environment(store, "--env-file", file, image)["ONLY"] == "image"


def test_an_env_file_has_comments_blanks_and_values_with_anything_in_them(
    store: Minirun, image: Path, tmp_path: Path
) -> None:
    file = tmp_path / "env"
    file.write_text('# a comment\n\n  A=one two = "three"  \nB=\nPASSED\nNOT_SET_ANYWHERE\n')
    found = environment(store, "--env-file", file, image, env={"PASSED": "by the caller"})
    assert found["A"] == 'one two = "three"  '
    assert found["B"] == ""
    assert found["PASSED"] == "by the caller"
    assert "NOT_SET_ANYWHERE" not in found


def test_an_env_file_with_a_blank_in_a_name_is_refused(store: Minirun, image: Path, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A B=1\n")
    result = store("run", "--rm", "--env-file", file, image, "true")
    assert result.returncode == 125
    assert "has white space in it" in result.stderr


def test_e_with_a_name_alone_passes_the_callers_value_on(store: Minirun, image: Path) -> None:
    assert environment(store, "-e", "WHO", image, env={"WHO": "caller"})["WHO"] == "caller"


def test_e_with_a_name_that_the_caller_has_not_set_takes_the_images_away(store: Minirun, image: Path) -> None:
    assert "WHO" not in environment(store, "-e", "WHO", image)


def test_a_value_may_be_empty_or_hold_an_equals_sign(store: Minirun, image: Path) -> None:
    found = environment(store, "-e", "WHO=", "-e", "EQUATION=a=b=c", image)
    assert (found["WHO"], found["EQUATION"]) == ("", "a=b=c")


def test_no_name_is_there_twice(store: Minirun, image: Path) -> None:
    flags = ("-e", "WHO=1", "-e", "PATH=/bin", "-e", "HOME=/x", "-e", "HOSTNAME=y")
    printed = store("run", "--rm", *flags, image, "cat", "/proc/self/environ", check=True).stdout
    names = [entry.partition("=")[0] for entry in printed.rstrip("\0").split("\0")]
    assert sorted(names) == sorted(set(names))
    assert environment(store, *flags, image)["HOSTNAME"] == "y"
