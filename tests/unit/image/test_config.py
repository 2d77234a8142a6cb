"""Configs from outside are checked once, and changed by Dockerfile instructions."""

from typing import Any

import pytest

from minirun.errors import BadInput, BadLayer
from minirun.image.config import Config
from minirun.image.foreign import read

WHERE = "/x/image.json"


def changed(config: dict[str, Any], *changes: str) -> Config:
    return Config({"config": config}).with_changes(changes)


def test_a_whole_config_and_its_inner_object_alone_mean_the_same() -> None:
    inner = {"Env": ["A=b"], "Cmd": ["sh"], "User": "1:2", "WorkingDir": "/w", "Labels": {"l": "v"}, "Odd": [1]}
    whole = read({"architecture": "amd64", "os": "linux", "config": inner, "odd": {"kept": 1}}, WHERE)
    alone = read(inner, WHERE)
    for config in (whole, alone):
        assert (config.env, config.cmd, config.user, config.working_dir) == (["A=b"], ["sh"], "1:2", "/w")
        assert config.labels == {"l": "v"}
        assert config.entrypoint is None
        assert config.raw["config"]["Odd"] == [1]
    assert whole.raw["odd"] == {"kept": 1}
    assert alone.raw["os"] == "linux"


def test_null_is_as_good_as_nothing() -> None:
    config = read({"config": dict.fromkeys(["Env", "Cmd", "Entrypoint", "Labels", "Volumes", "User"])}, WHERE)
    assert (config.env, config.cmd, config.labels, config.volumes, config.user) == ([], None, {}, [], "")
    assert read({"config": None, "rootfs": None, "history": None}, WHERE).diff_ids == []


def test_a_command_that_is_one_string_is_a_list_of_one() -> None:
    assert read({"Cmd": "sh", "Entrypoint": "/bin/app"}, WHERE).cmd == ["sh"]


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ([], "the config"),
        ({"Env": "A=b"}, "config.Env"),
        ({"Env": [1]}, "config.Env"),
        ({"Env": ["=x"]}, "config.Env"),
        ({"Env": ["A=\0"]}, "config.Env"),
        ({"Env": ["A=\ud800"]}, "config.Env"),
        ({"Cmd": {"sh": 1}}, "config.Cmd"),
        ({"Cmd": "a\0b"}, "config.Cmd"),
        ({"Entrypoint": [["sh"]]}, "config.Entrypoint"),
        ({"Entrypoint": [None]}, "config.Entrypoint"),
        ({"WorkingDir": 5}, "config.WorkingDir"),
        ({"User": 1000}, "config.User"),
        ({"StopSignal": 15}, "config.StopSignal"),
        ({"Labels": ["a=b"]}, "config.Labels"),
        ({"Labels": {"a": 1}}, "config.Labels.a"),
        ({"ExposedPorts": [80]}, "config.ExposedPorts"),
        ({"Volumes": "/data"}, "config.Volumes"),
        ({"Healthcheck": "true"}, "config.Healthcheck"),
        ({"config": []}, "config"),
        ({"config": {}, "created": 5}, "created"),
        ({"config": {}, "rootfs": []}, "rootfs"),
        ({"config": {}, "rootfs": {"diff_ids": ["sha256:../../../etc"]}}, "rootfs.diff_ids"),
        ({"config": {}, "history": {}}, "history"),
        ({"config": {}, "history": [5]}, "history"),
        ({"config": {}, "history": [{"created_by": 5}]}, "history.created_by"),
        ({"config": {}, "history": [{"empty_layer": "yes"}]}, "history.empty_layer"),
        ({"Env": ["A=b"] * 10_001}, "config.Env"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_its_key(document: object, key: str) -> None:
    with pytest.raises(BadLayer) as refusal:
        read(document, WHERE)
    assert WHERE in refusal.value.attempt
    assert refusal.value.reason.startswith(key + " ")


def test_env_replaces_in_place_and_appends() -> None:
    config = changed({"Env": ["A=1", "B=2"]}, "ENV B=3 C='a b'", "env D the rest  of it", 'ENV E="x=\\"y\\"" F=a\\ b')
    assert config.env == ["A=1", "B=3", "C=a b", "D=the rest  of it", 'E=x="y"', "F=a b"]


def test_variables_come_from_the_environment_of_the_image() -> None:
    env = ["PATH=/bin", "N=", "U=x"]
    config = changed({"Env": env}, "ENV PATH=$PATH:/opt/bin X=${N:-default} Y=${U:+set} Z='$PATH' W=\\$PATH V=$")
    assert config.env[0] == "PATH=/bin:/opt/bin"
    assert config.env[3:] == ["X=default", "Y=set", "Z=$PATH", "W=$PATH", "V=$"]
    assert changed({"Env": env}, "WORKDIR /srv/$U").working_dir == "/srv/x"


def test_commands_have_a_list_form_and_a_shell_form() -> None:
    assert changed({}, 'CMD ["a", "b c"]').cmd == ["a", "b c"]
    assert changed({}, "CMD echo $HOME").cmd == ["/bin/sh", "-c", "echo $HOME"]
    assert changed({}, "CMD [ -f x ] && y").cmd == ["/bin/sh", "-c", "[ -f x ] && y"]
    assert changed({"Cmd": ["x"]}, "CMD []").cmd == []


def test_a_new_entrypoint_drops_the_command_that_was_made_for_the_old_one() -> None:
    assert changed({"Cmd": ["x"]}, 'ENTRYPOINT ["/app"]').cmd is None
    both = changed({"Cmd": ["x"]}, 'CMD ["y"]', 'ENTRYPOINT ["/app"]')
    assert (both.entrypoint, both.cmd) == (["/app"], ["y"])


def test_ports_volumes_labels_user_signal_and_directory_are_set() -> None:
    config = changed(
        {"WorkingDir": "/a", "Labels": {"old": "1"}},
        "EXPOSE 80 53/UDP 8000-8002", 'VOLUME ["/data"]', "VOLUME /x /y", 'LABEL a="b c" d=e', "USER web:www",
        "STOPSIGNAL SIGINT", "WORKDIR b/../c", "WORKDIR d",
    )  # fmt: skip
    assert config.exposed_ports == ["80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"]
    assert config.volumes == ["/data", "/x", "/y"]
    assert config.labels == {"old": "1", "a": "b c", "d": "e"}
    assert (config.user, config.stop_signal, config.working_dir) == ("web:www", "SIGINT", "/a/c/d")


def test_changes_leave_the_config_that_they_change_alone() -> None:
    raw = {"config": {"Env": ["A=1"], "Labels": {"a": "b"}}, "odd": 1}
    assert Config(raw).with_changes(["ENV A=2", "LABEL a=c"]).raw["odd"] == 1
    assert raw == {"config": {"Env": ["A=1"], "Labels": {"a": "b"}}, "odd": 1}


@pytest.mark.parametrize(
    "change",
    [
        "", "FROM x", "RUN x", "ENV", "ENV A", "ENV =x", "ENV A=1 B", "ENV A='x", "ENV A=${B", "ENV A=${B:x}", "LABEL",
        "EXPOSE", "EXPOSE x", "EXPOSE 0", "EXPOSE 65536", "EXPOSE 9-8", "EXPOSE 80/icmp", "EXPOSE -", "USER",
        "USER a b", "WORKDIR", "VOLUME", 'VOLUME [""]', "CMD", "CMD [1]", "STOPSIGNAL", "EXPOSE ٣",
    ],
)  # fmt: skip
def test_what_is_no_change_is_refused(change: str) -> None:
    with pytest.raises(BadInput) as refusal:
        changed({}, change)
    assert repr(change) in refusal.value.attempt
    assert refusal.value.remedy
