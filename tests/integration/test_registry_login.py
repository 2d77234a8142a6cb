"""Who we are to a registry, how it proves who it is, and what is told to nobody else."""

from __future__ import annotations

import base64
import json
import os
import pty
import shutil
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minirun.registry.trust import Trust
from tests import middleman as between
from tests import registries
from tests.command import Minirun
from tests.middleman import Asked, Middleman, Reply, Visit
from tests.registries import PASSWORD, USER, Registry


@pytest.fixture(scope="module")
def open_registry(tmp_path_factory: pytest.TempPathFactory, busybox_oci: Path) -> Iterator[Registry]:
    """A registry in the clear, for everybody, that has busybox:1."""
    with registries.registry(tmp_path_factory.mktemp("registry") / "own") as where:
        registries.fill(where, busybox_oci, ["busybox:1"])
        yield where


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a password."""
    with registries.registry(tmp_path_factory.mktemp("registry") / "own", password=True) as where:
        yield where


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that speaks TLS, and wants a password."""
    with registries.registry(tmp_path_factory.mktemp("registry") / "own", tls=True, password=True) as where:
        yield where


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    """An environment with a Docker's config.json of its own."""
    files = {"DOCKER_CONFIG": str(tmp_path / "docker"), "REGISTRY_AUTH_FILE": "", "XDG_RUNTIME_DIR": str(tmp_path)}
    return {**files, "NO_PROXY": "registry.test", "no_proxy": "registry.test"}


def filed(own: dict[str, str]) -> Path:
    """The config.json of an environment."""
    return Path(own["DOCKER_CONFIG"]) / "config.json"


def auth(user: str = USER, password: str = PASSWORD) -> str:
    """User and password, as config.json has them."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def log_in(minirun: Minirun, own: dict[str, str], place: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Log in as USER, with the password by standard input."""
    return minirun("login", "-u", USER, "--password-stdin", *flags, place, stdin=f"{PASSWORD}\n", env=own)


def test_who_is_not_logged_in_is_told_how(minirun: Minirun, private: Registry, own: dict[str, str]) -> None:
    refused = minirun("pull", f"{private.place}/app", env=own)
    assert refused.returncode == 125
    assert "says 401 Unauthorized for app:latest" in refused.stderr
    assert f"`minirun login {private.place}`" in refused.stderr


def test_a_login_is_tried_filed_used_and_forgotten(
    minirun: Minirun, private: Registry, own: dict[str, str], busybox_layers: Path
) -> None:
    wrong = minirun("login", "-u", USER, "-p", "wr0ng-p4ss", private.place, env=own)
    assert wrong.returncode == 125
    assert wrong.stderr.startswith("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    assert "401 Unauthorized" in wrong.stderr
    assert "wr0ng-p4ss" not in wrong.stderr
    assert not filed(own).exists()

    filed(own).parent.mkdir()
    before = {"psFormat": "table", "auths": {"other.example": {"auth": "eDp5"}}, "HttpHeaders": {"a": "b"}}
    filed(own).write_text(json.dumps(before))
    filed(own).chmod(0o644)
    told = log_in(minirun, own, private.place)
    assert (told.returncode, told.stdout) == (0, "Login Succeeded\n"), told.stderr
    assert told.stderr.startswith(f"WARNING! Your credentials are stored unencrypted in '{filed(own)}'.\n")
    assert PASSWORD not in told.stderr
    assert stat.S_IMODE(filed(own).stat().st_mode) == 0o600
    after = {**before, "auths": {"other.example": {"auth": "eDp5"}, private.place: {"auth": auth()}}}
    assert json.loads(filed(own).read_text()) == after
    assert os.listdir(filed(own).parent) == ["config.json"]

    minirun("import", busybox_layers, f"{private.place}/app", check=True)
    minirun("push", f"{private.place}/app", env=own, check=True)
    minirun("pull", f"{private.place}/app", env=own, check=True)
    again = minirun("login", private.place, env=own)
    assert again.stdout == "Authenticating with existing credentials...\nLogin Succeeded\n"

    out = minirun("logout", private.place, env=own, check=True)
    assert out.stdout == f"Removing login credentials for {private.place}\n"
    assert list(json.loads(filed(own).read_text())["auths"]) == ["other.example"]
    assert minirun("logout", private.place, env=own, check=True).stdout == f"Not logged in to {private.place}\n"
    assert minirun("pull", f"{private.place}/app", env=own).returncode == 125
    assert minirun("logout", env=own, check=True).stdout == "Not logged in to https://index.docker.io/v1/\n"


def test_what_podman_filed_is_used_and_a_logout_says_that_it_is_there(
    minirun: Minirun, private: Registry, own: dict[str, str], busybox_layers: Path, tmp_path: Path
) -> None:
    minirun("import", busybox_layers, f"{private.place}/team/app", check=True)
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers/auth.json").write_text(json.dumps({"auths": {f"{private.place}/team": {"auth": auth()}}}))
    minirun("push", f"{private.place}/team/app", env=own, check=True)
    assert minirun("pull", f"{private.place}/app", env=own).returncode == 125
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {private.place: {"auth": auth()}}}))
    named = {**own, "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    minirun("pull", f"{private.place}/team/app", env=named, check=True)
    out = minirun("logout", private.place, env=named, check=True)
    assert f"{tmp_path}/auth.json has an account for {private.place}, too" in out.stderr


def test_a_helper_keeps_the_secret(
    minirun: Minirun, private: Registry, own: dict[str, str], busybox_layers: Path, tmp_path: Path
) -> None:
    vault = tmp_path / "vault"
    helper = tmp_path / "bin/docker-credential-test"
    helper.parent.mkdir()
    helper.write_text(
        "#!/bin/sh\n"
        f"case $1 in store) cat >{vault};;\n"
        f"get) [ -f {vault} ] && cat {vault} || {{ echo credentials not found in native keychain; exit 1; }};;\n"
        f"erase) rm -f {vault};; esac\n"
    )
    helper.chmod(0o755)
    filed(own).parent.mkdir()
    filed(own).write_text(json.dumps({"credHelpers": {private.place: "test"}}))
    kept = {**own, "PATH": f"{helper.parent}:{os.environ['PATH']}"}
    told = log_in(minirun, kept, private.place)
    assert (told.stdout, told.stderr) == ("Login Succeeded\n", "")
    assert json.loads(vault.read_text()) == {"ServerURL": private.place, "Username": USER, "Secret": PASSWORD}
    assert PASSWORD not in filed(own).read_text()
    assert json.loads(filed(own).read_text())["auths"] == {private.place: {}}
    minirun("import", busybox_layers, f"{private.place}/helped", check=True)
    minirun("push", f"{private.place}/helped", env=kept, check=True)
    minirun("logout", private.place, env=kept, check=True)
    assert not vault.exists()
    helper.write_text("#!/bin/sh\necho the vault is locked; exit 1\n")
    refused = minirun("pull", f"{private.place}/helped", env=kept)
    assert refused.returncode == 125
    assert "cannot ask the credential helper 'test': the vault is locked" in refused.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "it is not JSON"),
        ('{"auths": [1]}', "does not have the form of Docker's config.json"),
        ('{"auths": {"PLACE": {"auth": "!"}}}', "is not user:password in Base64"),
        ('{"credsStore": "../../bin/sh"}', "is no name of a program"),
        ('{"credsStore": "none-such"}', "ENOENT"),
        ("[" * 100_000, "cannot read"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_and_not_passed_over(
    minirun: Minirun, private: Registry, own: dict[str, str], text: str, said: str
) -> None:
    filed(own).parent.mkdir()
    filed(own).write_text(text.replace("PLACE", private.place))
    refused = minirun("pull", f"{private.place}/app", env=own)
    assert refused.returncode == 125
    assert said in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["login", "PLACE"], "standard input is no terminal"),
        (["login", "--password-stdin", "PLACE"], "--password-stdin needs a user, too"),
        (["login", "-u", "a", "-p", "b", "--password-stdin", "PLACE"], "--password and --password-stdin were given"),
        (["login", "-u", "a:b", "-p", "c", "PLACE"], "a user's name has no colon"),
        (["login", "-u", "a", "-p", "c", "https://a:b@host"], "it is not HOST or HOST:PORT"),
        (["login", "-u", "a", "--password-stdin", "PLACE"], "no password came from standard input"),
    ],
)
def test_a_login_that_cannot_be_is_refused(
    minirun: Minirun, private: Registry, own: dict[str, str], words: list[str], said: str
) -> None:
    refused = minirun(*(word.replace("PLACE", private.place) for word in words), env=own)
    assert refused.returncode == 125
    assert said in refused.stderr
    assert not filed(own).exists()


def test_a_terminal_asks_and_does_not_show_the_password(
    minirun: Minirun, private: Registry, own: dict[str, str]
) -> None:
    pid, master = pty.fork()
    if pid == 0:
        os.execve(minirun.command([])[0], minirun.command(["login", private.place]), minirun.environment(own))
    seen = b""
    try:
        for question, answer in ((b"Username: ", USER), (b"Password: ", PASSWORD)):
            end = time.monotonic() + 30
            while question not in seen and time.monotonic() < end:
                seen += os.read(master, 1024)
            assert question in seen
            time.sleep(0.2)  # until the terminal shows nothing any more
            os.write(master, f"{answer}\n".encode())
        try:
            while data := os.read(master, 1024):
                seen += data
        except OSError:
            pass  # EIO: nobody has the terminal any more
    finally:
        os.close(master)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"Login Succeeded" in seen
    assert PASSWORD.encode() not in seen
    assert filed(own).exists()


def test_a_certificate_must_be_good(
    minirun: Minirun, secure: Registry, own: dict[str, str], busybox_layers: Path
) -> None:
    assert secure.authority is not None
    refused = log_in(minirun, own, secure.place)
    assert refused.returncode == 125
    assert f"the certificate of {secure.place} is not trusted" in refused.stderr
    assert f"/etc/docker/certs.d/{secure.place}/ca.crt" in refused.stderr
    certificates = ("--cert-dir", str(secure.authority.parent))
    assert log_in(minirun, own, secure.place, *certificates).returncode == 0
    minirun("import", busybox_layers, f"{secure.place}/app", check=True)
    minirun("push", *certificates, f"{secure.place}/app", env=own, check=True)
    minirun("pull", "--tls-verify=false", f"{secure.place}/app", env=own, check=True)
    assert "is not trusted" in minirun("pull", f"{secure.place}/app", env=own).stderr
    assert log_in(minirun, own, secure.place, "--cert-dir", "/nonexistent").returncode == 125


@pytest.fixture
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Path]]:
    """A registry that speaks with those alone whom it knows by their certificate, and a folder with such a one."""
    with registries.registry(tmp_path_factory.mktemp("registry") / "own", clients=True) as where:
        assert where.authority is not None
        folder = tmp_path_factory.mktemp("certificates")
        for name, ours in (("ca.crt", "ca.crt"), ("client.crt", "me.cert"), ("client.key", "me.key")):
            shutil.copy(where.authority.with_name(name), folder / ours)
        yield where, folder


def test_a_registry_may_want_to_know_a_client_by_its_certificate(
    minirun: Minirun, known: tuple[Registry, Path], own: dict[str, str], busybox_layers: Path, tmp_path: Path
) -> None:
    where, folder = known
    name = f"{where.place}/app"
    minirun("import", busybox_layers, name, check=True)
    minirun("push", "--cert-dir", str(folder), name, env=own, check=True)
    minirun("rmi", name, check=True)
    minirun("pull", "--cert-dir", str(folder), name, env=own, check=True)
    minirun("pull", "--cert-dir", str(folder), "--tls-verify=false", name, env=own, check=True)
    nobody = tmp_path / "nobody"
    nobody.mkdir()
    shutil.copy(folder / "ca.crt", nobody)
    registries.certificates(tmp_path / "others")
    for files in ((), (("client.crt", "other.cert"), ("client.key", "other.key"))):
        for theirs, ours in files:
            shutil.copy(tmp_path / "others" / theirs, nobody / ours)
        refused = minirun("pull", "--cert-dir", str(nobody), name, env=own)
        assert refused.returncode == 125
        assert f"{where.place} wants a certificate of ours that it knows" in refused.stderr
        assert f"NAME.key into /etc/docker/certs.d/{where.place}/" in refused.stderr


def test_a_client_is_known_by_what_docker_has(
    minirun: Minirun, known: tuple[Registry, Path], own: dict[str, str], docker_folder: Path, busybox_layers: Path
) -> None:
    where, folder = known
    place = docker_folder / "certs.d" / where.place
    shutil.copytree(folder, place)
    minirun("import", busybox_layers, f"{where.place}/there", check=True)
    pushed = elsewhere(minirun, own, {"/etc/docker": docker_folder}, "push", f"{where.place}/there")
    assert pushed.returncode == 0, pushed.stderr


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "me.key").unlink(), "NAME.cert has its key beside it in NAME.key"),
        (lambda folder: shutil.copy(folder / "other.key", folder / "me.key"), "its key is another's"),
        (lambda folder: (folder / "me.cert").write_text("none"), "it is no certificate in PEM"),
        (
            lambda folder: subprocess.run(
                ["openssl", "ec", "-in", "other.key", "-out", "me.key", "-aes128", "-passout", "pass:x"],
                cwd=folder, check=True, capture_output=True,
            ),
            "me.cert",
        ),
    ],
    ids=["no key", "another's key", "no certificate", "a key with a password"],
)  # fmt: skip
def test_a_certificate_of_ours_that_cannot_be_used_is_told(
    minirun: Minirun, known: tuple[Registry, Path], own: dict[str, str], spoil: Callable[[Path], object], said: str
) -> None:
    where, folder = known
    assert where.authority is not None
    shutil.copy(where.authority.with_name("server.key"), folder / "other.key")
    spoil(folder)
    refused = minirun("pull", "--cert-dir", str(folder), f"{where.place}/app", env=own)
    assert refused.returncode == 125
    assert f"cannot use {folder}/me.cert: " in refused.stderr
    assert said in refused.stderr


def test_who_is_not_the_registry_is_not_told_who_we_are(tmp_path: Path) -> None:
    authority = registries.certificates(tmp_path / "certificates")
    folder = tmp_path / "ours"
    folder.mkdir()
    for file, copied in (("ca.crt", "ca.crt"), ("client.crt", "me.cert"), ("client.key", "me.key")):
        shutil.copy(authority.with_name(file), folder / copied)
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking.load_cert_chain(authority.with_name("server.crt"), authority.with_name("server.key"))
    asking.load_verify_locations(authority)
    asking.verify_mode = ssl.CERT_OPTIONAL
    rules = Trust(cert_dir=str(folder), folder=str(tmp_path / "none"))
    for own in (True, False):
        ours, theirs = socket.socketpair()
        with ThreadPoolExecutor() as threads:
            taken = threads.submit(asking.wrap_socket, theirs, server_side=True)
            context = rules.context("localhost", own=own, verified=True)
            with context.wrap_socket(ours, server_hostname="localhost"), taken.result(10) as server:
                assert bool(server.getpeercert()) == own


def elsewhere(
    minirun: Minirun, own: dict[str, str], files: dict[str, Path], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run minirun where others of the host's files are."""
    script = "".join(f"mount --bind '{ours}' '{theirs}' && " for theirs, ours in files.items())
    command = ["unshare", "-m", "sh", "-c", f'{script}exec "$@"', "sh", *minirun.command(arguments)]
    return subprocess.run(
        command, env=minirun.environment(own), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.fixture
def docker_folder(tmp_path: Path) -> Path:
    """What is to be /etc/docker."""
    if not Path("/etc/docker").is_dir():
        pytest.skip("/etc/docker is not there to be mounted upon")
    folder = tmp_path / "etc-docker"
    folder.mkdir()
    return folder


def test_certificates_are_found_where_docker_has_them(
    minirun: Minirun, secure: Registry, own: dict[str, str], docker_folder: Path, busybox_layers: Path
) -> None:
    assert secure.authority is not None
    place = docker_folder / "certs.d" / secure.place
    place.mkdir(parents=True)
    (place / "ca.crt").write_bytes(secure.authority.read_bytes())
    filed(own).parent.mkdir()
    filed(own).write_text(json.dumps({"auths": {secure.place: {"auth": auth()}}}))
    minirun("import", busybox_layers, f"{secure.place}/there", check=True)
    pushed = elsewhere(minirun, own, {"/etc/docker": docker_folder}, "push", f"{secure.place}/there")
    assert pushed.returncode == 0, pushed.stderr
    (place / "ca.crt").write_text("this is none")
    refused = elsewhere(minirun, own, {"/etc/docker": docker_folder}, "pull", f"{secure.place}/there")
    assert refused.returncode == 125
    assert f"cannot use /etc/docker/certs.d/{secure.place}/ca.crt: it is no certificate in PEM" in refused.stderr


def test_a_registry_that_is_not_on_loopback_is_spoken_to_in_the_clear_only_where_it_is_listed(
    minirun: Minirun, open_registry: Registry, own: dict[str, str], docker_folder: Path, tmp_path: Path
) -> None:
    # by its name nobody can see that it is on loopback
    (tmp_path / "hosts").write_text("127.0.0.1 localhost registry.test\n")
    files = {"/etc/hosts": tmp_path / "hosts", "/etc/docker": docker_folder}
    place = f"registry.test:{open_registry.port}"
    for flags in ([], ["--tls-verify=false"]):
        refused = elsewhere(minirun, own, files, "pull", *flags, f"{place}/busybox:1")
        assert refused.returncode == 125
        assert f"{place} does not speak TLS" in refused.stderr
        assert f"MINIRUN_INSECURE_REGISTRIES={place}" in refused.stderr
    listed = {**own, "MINIRUN_INSECURE_REGISTRIES": f"a.example,{place}"}
    assert elsewhere(minirun, listed, files, "pull", f"{place}/busybox:1").returncode == 0
    (docker_folder / "daemon.json").write_text(json.dumps({"insecure-registries": [place]}))
    pulled = elsewhere(minirun, own, files, "pull", f"{place}/busybox:1")
    assert pulled.returncode == 0, pulled.stderr
    # a network says nothing about a name
    (docker_folder / "daemon.json").write_text(json.dumps({"insecure-registries": ["127.0.0.0/8"]}))
    assert elsewhere(minirun, own, files, "pull", f"{place}/busybox:1").returncode == 125


class Realm:
    """Gives tokens, and has the registry want them.

    Attributes:
        given: what was asked of the realm: the query, and the Authorization header.
        shown: what was shown to the registry.
    """

    def __init__(self, middle: Middleman, *, life_s: int = 300) -> None:
        self.given: list[Asked] = []
        self.shown: list[str] = []
        self.valid: dict[str, float] = {}
        self.life_s = life_s
        middle.trick("/token", self.grant)
        middle.trick("/token", self.grant, method="POST")
        self.realm = f"http://127.0.0.1:{middle.port}/token"
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH"):
            middle.trick("/v2/", self.guard, method=method)

    def grant(self, visit: Visit, asked: Asked, _reply: Reply) -> None:
        """Give a token to who says that he is USER."""
        self.given.append(asked)
        told = asked.headers.get("Authorization", "")
        if told != f"Basic {auth()}" and b"refresh_token=an-identity" not in asked.body:
            visit.send(401, [], b"{}")
            return
        token = f"t0ken-{len(self.given)}"
        self.valid[token] = time.monotonic() + self.life_s
        identity = {"refresh_token": "an-identity"} if "offline_token=true" in asked.path else {}
        visit.send(200, [], json.dumps({"token": token, "expires_in": self.life_s, **identity}).encode())

    def guard(self, visit: Visit, asked: Asked, reply: Reply) -> None:
        """Let in who has a token that is good."""
        told = asked.headers.get("Authorization", "")
        self.shown.append(told)
        if self.valid.get(told.removeprefix("Bearer "), 0) < time.monotonic():
            wanted = f'Bearer realm="{self.realm}",service="of a test",scope="repository:busybox:pull"'
            visit.send(401, [("WWW-Authenticate", wanted)], b"{}")
        else:
            visit.send(reply.status, reply.headers, reply.body)


def test_tokens_are_fetched_for_what_is_done(minirun: Minirun, open_registry: Registry, own: dict[str, str]) -> None:
    with between.middleman(open_registry.port) as middle:
        realm = Realm(middle)
        filed(own).parent.mkdir()
        filed(own).write_text(json.dumps({"auths": {middle.place: {"auth": auth()}}}))
        minirun("pull", f"{middle.place}/busybox:1", env=own, check=True)
        assert len(realm.given) == 1
        assert "service=of+a+test" in realm.given[0].path
        assert "scope=repository%3Abusybox%3Apull" in realm.given[0].path
        assert all(told in ("", "Bearer t0ken-1") for told in realm.shown)
        minirun("tag", f"{middle.place}/busybox:1", f"{middle.place}/copy", check=True)
        realm.given.clear()
        minirun("push", f"{middle.place}/copy", env=own, check=True)
        asked = " ".join(one.path for one in realm.given)
        assert "repository%3Acopy%3Apull%2Cpush" in asked
        assert "repository%3Abusybox%3Apull" in asked  # to mount layers from there
        filed(own).write_text(json.dumps({"auths": {middle.place: {"auth": auth(password="n0t-it")}}}))
        refused = minirun("pull", f"{middle.place}/busybox:1", env=own)
        assert f"{realm.realm} gives no token for 'ada' (status 401)" in refused.stderr
        assert "n0t-it" not in refused.stderr
        assert f"`minirun login {middle.place}`" in refused.stderr


def test_a_token_that_has_expired_is_fetched_anew(
    minirun: Minirun, open_registry: Registry, own: dict[str, str]
) -> None:
    with between.middleman(open_registry.port) as middle:
        realm = Realm(middle)
        filed(own).parent.mkdir()
        filed(own).write_text(json.dumps({"auths": {middle.place: {"auth": auth()}}}))

        def forget(visit: Visit, asked: Asked, reply: Reply) -> None:
            realm.valid.clear()
            realm.guard(visit, asked, reply)

        middle.tricks.insert(0, between.Trick("/blobs/", forget, times=1))
        minirun("pull", f"{middle.place}/busybox:1", env=own, check=True)
        assert len(realm.given) >= 2


def test_an_identity_token_is_filed_in_the_place_of_the_password(
    minirun: Minirun, open_registry: Registry, own: dict[str, str]
) -> None:
    with between.middleman(open_registry.port) as middle:
        Realm(middle)
        assert log_in(minirun, own, middle.place).returncode == 0
        entry = json.loads(filed(own).read_text())["auths"][middle.place]
        assert entry == {"auth": auth(password=""), "identitytoken": "an-identity"}
        minirun("pull", f"{middle.place}/busybox:1", env=own, check=True)
        assert [one.method for one in middle.asked if one.path.startswith("/token")][-1] == "POST"


@pytest.mark.parametrize(
    ("realm", "said"),
    [
        ("http://192.0.2.7/token", "sends us to http://192.0.2.7/token for a token, which is not https"),
        ("file:///etc/passwd", "for a token, which is no URL"),
        ("", "for a token, which is no URL"),
    ],
)
def test_who_we_are_goes_to_no_realm_in_the_clear(
    minirun: Minirun, open_registry: Registry, own: dict[str, str], realm: str, said: str
) -> None:
    with between.middleman(open_registry.port) as middle:
        Realm(middle).realm = realm
        filed(own).parent.mkdir()
        filed(own).write_text(json.dumps({"auths": {middle.place: {"auth": auth()}}}))
        refused = minirun("pull", f"{middle.place}/busybox:1", env=own)
        assert refused.returncode == 125
        assert said in refused.stderr
        assert PASSWORD not in refused.stderr


def test_a_realm_that_sends_us_on_is_not_followed(
    minirun: Minirun, open_registry: Registry, own: dict[str, str]
) -> None:
    with between.middleman(open_registry.port) as middle, between.middleman(open_registry.port) as other:
        middle.trick("/token", between.refuse(307, ("Location", f"http://127.0.0.1:{other.port}/token")))
        Realm(middle)
        filed(own).parent.mkdir()
        filed(own).write_text(json.dumps({"auths": {middle.place: {"auth": auth()}}}))
        refused = minirun("pull", f"{middle.place}/busybox:1", env=own)
        assert "sends us on for a token, and nobody else gets to know who we are" in refused.stderr
        assert other.asked == []


def test_an_upload_that_goes_elsewhere_goes_without_who_we_are(
    minirun: Minirun, open_registry: Registry, own: dict[str, str], busybox_layers: Path
) -> None:
    with between.middleman(open_registry.port) as middle, between.middleman(open_registry.port) as other:

        def guarded(visit: Visit, asked: Asked, reply: Reply) -> None:
            if asked.headers.get("Authorization") != f"Basic {auth()}":
                visit.send(401, [("WWW-Authenticate", 'Basic realm="x"')])
                return
            headers = dict(reply.headers)
            if asked.method == "POST":
                headers["Location"] = headers["Location"].replace(str(middle.port), str(other.port))
            visit.send(reply.status, [*headers.items()], reply.body)

        for method in ("GET", "HEAD", "POST", "PUT"):
            middle.trick("/v2/", guarded, method=method)
        filed(own).parent.mkdir()
        filed(own).write_text(json.dumps({"auths": {middle.place: {"auth": auth()}}}))
        minirun("import", busybox_layers, f"{middle.place}/elsewhere", check=True)
        minirun("push", f"{middle.place}/elsewhere", env=own, check=True)
        assert {one.method for one in other.asked} == {"PUT"}
        assert all("Authorization" not in one.headers for one in other.asked)
        assert registries.manifest(open_registry, "elsewhere:latest")


def test_what_a_registry_says_back_of_our_secrets_is_not_shown(
    minirun: Minirun, open_registry: Registry, own: dict[str, str]
) -> None:
    with between.middleman(open_registry.port) as middle:

        def echo(visit: Visit, asked: Asked, _reply: Reply) -> None:
            told = asked.headers.get("Authorization", "")
            if not told:
                visit.send(401, [("WWW-Authenticate", 'Basic realm="x"')])
                return
            message = f"no: {told} {base64.b64decode(told.removeprefix('Basic ')).decode()}"
            visit.send(403, [], json.dumps({"errors": [{"message": message}]}).encode())

        middle.trick("/v2/", echo)
        filed(own).parent.mkdir()
        filed(own).write_text(json.dumps({"auths": {middle.place: {"auth": auth()}}}))
        refused = minirun("pull", f"{middle.place}/busybox:1", env=own)
        assert "403 Forbidden for busybox:1: no: Basic *** ada:***" in refused.stderr
        assert PASSWORD not in refused.stderr
        assert auth() not in refused.stderr
