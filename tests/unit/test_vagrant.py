"""The virtual machine's scripts: what they ask for is what the tests need, and they leave nothing behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
VAGRANT = PROJECT / "vagrant"
SCRIPTS = [path for path in sorted(VAGRANT.rglob("*")) if path.is_file() and path.read_bytes().startswith(b"#!")]

# Vagrant, as far as a Vagrantfile sees it: whatever is called on a configuration is written down.
RECORDER = """
require "json"
class Recorder
  def initialize(said) = @said = said
  def respond_to_missing?(*) = true
  def method_missing(name, *arguments, **options, &block)
    said = name == :provider ? (@said["provider #{arguments[0]}"] = {}) : @said
    (said[name.to_s] ||= []) << [*arguments, options] unless arguments.empty? && options.empty?
    Recorder.new(said).tap { |inner| block&.call(inner) }
  end
end
module Vagrant
  SAID = {}
  def self.configure(_version) = yield(Recorder.new(SAID))
end
load ARGV[0]
puts JSON.generate(Vagrant::SAID)
"""

# A `vagrant` that writes down how it is called, and does what the variables say.
IMPOSTOR = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
*status*) echo "1,default,state,$STATE" ;;
*up*) exit "$UP" ;;
*ssh*) [ -z "$SLEEP" ] || sleep "$SLEEP"; exit "$TESTS" ;;
esac
"""


def vagrantfile(**variables: str) -> dict[str, Any]:
    """Return what the Vagrantfile says when these environment variables are set."""
    ruby = shutil.which("ruby")
    if ruby is None:
        pytest.skip("needs ruby")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MINIRUN_")} | variables
    done = subprocess.run(
        [ruby, "-e", RECORDER, VAGRANT / "Vagrantfile"], env=environment, capture_output=True, text=True, check=True
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def excluded(said: dict[str, Any]) -> list[str]:
    """Return what is not synced with the checkout."""
    checkout = next(folder for folder in said["synced_folder"] if folder[1] == "/vagrant")
    patterns: list[str] = checkout[2]["rsync__exclude"]
    return patterns


def test_there_are_scripts() -> None:
    assert {"alone", "local", "provision", "test", "build", "configure", "packages"} == {path.name for path in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(VAGRANT)))
def test_a_script_is_bash_and_can_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_the_box_has_every_package_that_setup_fixtures_and_tests_install() -> None:
    makefile = (PROJECT / "Makefile").read_text().replace("\\\n", " ")
    lists = dict(re.findall(r"^(\w+)_PACKAGES := (.*)$", makefile, re.MULTILINE))
    wanted = {name for which in ("SETUP", "FIXTURE", "TEST") for name in lists[which].split()}
    assert len(wanted) > 10
    printed = subprocess.run([VAGRANT / "box/packages"], capture_output=True, text=True, check=True).stdout
    assert wanted - set(printed.splitlines()) == set()


def test_the_tools_that_the_scripts_call_are_installed_by_make() -> None:
    makefile = (PROJECT / "Makefile").read_text().replace("\\\n", " ")
    match = re.search(r"^VAGRANT_PACKAGES := (.*)$", makefile, re.MULTILINE)
    assert match is not None
    packages = set(match[1].split())
    scripts = "".join(path.read_text() for path in SCRIPTS)
    for tool, package in (
        ("extlinux", "extlinux"),
        ("libvirtd", "libvirt-daemon-system"),
        ("mbr.bin", "syslinux-common"),
        ("mmdebstrap", "mmdebstrap"),
        ("qemu-img", "qemu-utils"),
        ("sfdisk", "fdisk"),
        ("vagrant up", "vagrant"),
        ("virsh", "libvirt-clients"),
    ):
        assert tool in scripts, tool
        assert package in packages, package


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
def test_each_provider_gets_memory_and_processors(provider: str) -> None:
    said = vagrantfile()[f"provider {provider}"]
    assert {"memory=", "cpus="} <= said.keys()


@pytest.mark.parametrize(("variables", "driver"), [({}, "qemu"), ({"MINIRUN_KVM": "1"}, "kvm")])
def test_the_processor_runs_the_guest_only_when_it_is_told_to(variables: dict[str, str], driver: str) -> None:
    said = vagrantfile(**variables)["provider libvirt"]
    assert said["driver="] == [[driver, {}]]


def test_the_box_is_a_public_one_unless_it_is_made_here() -> None:
    assert vagrantfile()["box="] == [["debian/bookworm64", {}]]
    assert vagrantfile(MINIRUN_BOX="local")["box="] == [["minirun/bookworm", {}]]


def test_what_was_made_here_is_not_synced_but_the_fixtures_where_there_is_no_network() -> None:
    public, local = excluded(vagrantfile()), excluded(vagrantfile(MINIRUN_BOX="local"))
    assert {".git/", "/.venv/", "/build/", "__pycache__/"} <= set(public) & set(local)
    assert set(public) - set(local) == {"/rootfs-fixtures/out/"}


class Impostor:
    """A directory with a `vagrant` in it that only writes down its calls."""

    def __init__(self, directory: Path) -> None:
        self.calls_file = directory / "calls"
        program = directory / "vagrant"
        program.write_text(IMPOSTOR)
        program.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "CALLS": str(self.calls_file),
            "STATE": "not_created",
            "UP": "0",
            "TESTS": "0",
            "SLEEP": "",
            "VAGRANT_TESTS": "",
        }

    def start(self, **variables: str) -> subprocess.Popen[str]:
        """Start vagrant/test."""
        return subprocess.Popen(
            [VAGRANT / "test"],
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, **variables: str) -> tuple[int, str]:
        """Run vagrant/test; return its status and what it printed."""
        process = self.start(**variables)
        printed = process.communicate(timeout=60)[0]
        return process.returncode, printed

    def verbs(self) -> list[str]:
        """Return the subcommands of vagrant that were called, in order."""
        return [
            next(word for word in line.split() if word[0] != "-") for line in self.calls_file.read_text().splitlines()
        ]


@pytest.fixture
def impostor(tmp_path: Path) -> Impostor:
    """A vagrant that only writes down its calls."""
    return Impostor(tmp_path)


@pytest.mark.parametrize(("tests", "said"), [("0", "passed in"), ("2", "failed (status 2) in")])
def test_the_machine_is_destroyed_and_the_status_is_that_of_the_tests(
    impostor: Impostor, tests: str, said: str
) -> None:
    status, printed = impostor.run(TESTS=tests)
    assert status == int(tests)
    assert said in printed.splitlines()[-1]
    rebooted = ["ssh", "reload", "ssh"] if tests == "0" else []
    assert impostor.verbs() == ["status", "up", "ssh", *rebooted, "destroy"]
    assert re.search(r"sudo MINIRUN_TEST_GUEST=\S.* make test$", impostor.calls_file.read_text(), re.MULTILINE)


def test_a_machine_that_does_not_come_up_is_destroyed_too(impostor: Impostor) -> None:
    status, printed = impostor.run(UP="3")
    assert status == 3
    assert "could not be run" in printed
    assert impostor.verbs() == ["status", "up", "destroy"]


def test_an_interrupted_run_destroys_the_machine(impostor: Impostor) -> None:
    process = impostor.start(SLEEP="30")
    deadline_s = time.monotonic() + 30
    while not impostor.calls_file.exists() or "ssh" not in impostor.verbs():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert impostor.verbs()[-1] == "destroy"


def test_a_machine_that_was_there_before_is_left_alone(impostor: Impostor) -> None:
    status, printed = impostor.run(STATE="running")
    assert status == 1
    assert "`cd vagrant && vagrant destroy`" in printed
    assert impostor.verbs() == ["status"]


def test_a_part_of_the_tests_can_be_chosen(impostor: Impostor) -> None:
    assert impostor.run(VAGRANT_TESTS="tests/unit tests/vm")[0] == 0
    assert re.search(r"pytest .* tests/unit tests/vm$", impostor.calls_file.read_text(), re.MULTILINE)
    assert impostor.verbs() == ["status", "up", "ssh", "destroy"]


def test_the_reboot_alone_can_be_chosen(impostor: Impostor) -> None:
    assert impostor.run(VAGRANT_TESTS="reboot")[0] == 0
    assert impostor.verbs() == ["status", "up", "ssh", "ssh", "reload", "ssh", "destroy"]
    calls = impostor.calls_file.read_text()
    assert "pytest" not in calls
    assert re.findall(r"tests\.vm\.reboot (\w+)$", calls, re.MULTILINE) == ["before", "after"]


@pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces: run as root")
@pytest.mark.skipif(shutil.which("libvirtd") is None, reason="needs libvirtd: make vagrant-packages")
def test_a_libvirtd_of_its_own_is_not_seen_outside_and_goes_with_the_command(tmp_path: Path) -> None:
    config = Path("/etc/libvirt/qemu.conf")

    def seen() -> tuple[list[str], list[str], str]:
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "libvirt" in line]
        return mounts, [name for name in os.listdir("/sys/class/net") if name.startswith("virbr")], config.read_text()

    before = seen()
    inside = (
        "virsh --quiet --connect qemu:///system list --all --name",
        "touch /var/lib/libvirt/images/kept",
        "tail -n +3 /proc/self/net/dev",
        "readlink /proc/self/ns/pid",
        "exit 7",
    )
    done = subprocess.run(
        [VAGRANT / "alone", tmp_path / "images", "sh", "-c", " && ".join(inside)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    words = done.stdout.split()
    assert [word for word in words if word.endswith(":")] == ["lo:"]
    assert seen() == before
    assert os.listdir(tmp_path / "images") == ["kept"]
    namespace = words[-1]
    living = [name for name in os.listdir("/proc") if name.isdigit()]
    assert namespace not in [link for pid in living if (link := process_namespace(pid))]


def process_namespace(pid: str) -> str | None:
    """Return the PID namespace of a process, or None when it has ended or is none of ours."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except (FileNotFoundError, PermissionError):
        return None
