"""`login`: a registry is told who we are."""

from __future__ import annotations

import sys

import click

from minirun.cli import screen
from minirun.cli.command import Command
from minirun.cli.reaching import reaching
from minirun.errors import BadInput, MinirunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.login import Filed
    from minirun.engine.registry import Way
    from minirun.registry.accounts import Account

_PASSWORD_BYTES = 64 << 10


@click.command(
    "login",
    cls=Command,
    examples="""
minirun login localhost:5000                           asks for user and password
minirun login -u ada --password-stdin ghcr.io < token
minirun logout localhost:5000
""",
)
@click.argument("server", metavar="[SERVER]", default="")
@click.option("-u", "--username", default="", metavar="USER", help="Who you are there.")
@click.option("-p", "--password", default="", metavar="PASSWORD", help="All of this host can see it: --password-stdin.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@reaching
def login(*, server: str, username: str, password: str, password_stdin: bool, tls_verify: bool, cert_dir: str) -> None:
    """Tell a registry who you are, and remember it in Docker's config.json.

    SERVER is HOST[:PORT]; without it, docker.io.
    """
    from minirun.engine import login as verbs
    from minirun.engine.registry import Way

    attempt = f"log in to {server or 'docker.io'}"
    if password_stdin:
        if password:
            raise BadInput(attempt, "--password and --password-stdin were given", "give the second alone")
        if not username:
            raise BadInput(attempt, "--password-stdin needs a user, too", "add --username USER")
        password = _read_password(attempt)
    elif password:
        sys.stderr.write("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    way = Way(tls_verify=tls_verify, cert_dir=cert_dir)
    if not username and not password and _again(server, way):
        return
    account = _ask(attempt, username, password)
    _tell(verbs.log_in(server, account, way))


def _again(server: str, way: Way) -> bool:
    """Try who we were before; whether that is still good."""
    from minirun.engine import login as verbs

    account = verbs.known_account(server)
    if account is None:
        return False
    screen.write("Authenticating with existing credentials...\n")
    try:
        verbs.check(server, account, way)
    except MinirunError as error:
        if not sys.stdin.isatty():
            raise
        screen.refuse(error)
        return False
    screen.write("Login Succeeded\n")
    return True


def _read_password(attempt: str) -> str:
    data = sys.stdin.buffer.read(_PASSWORD_BYTES + 1)
    try:
        password = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        password = ""
    if not password or len(data) > _PASSWORD_BYTES:
        raise BadInput(attempt, "no password came from standard input", "pipe one in: `minirun login … < FILE`")
    return password


def _ask(attempt: str, username: str, password: str) -> Account:
    from minirun.registry.accounts import Account

    if not (username and password) and not sys.stdin.isatty():
        raise BadInput(attempt, "standard input is no terminal, and cannot be asked for user and password",
                       "use --username and --password-stdin")  # fmt: skip
    try:
        username = username or click.prompt("Username", prompt_suffix=": ")
        password = password or click.prompt("Password", hide_input=True, prompt_suffix=": ")
    except click.Abort:
        raise KeyboardInterrupt from None
    return Account(username, password)


def _tell(filed: Filed) -> None:
    if filed.is_open:
        sys.stderr.write(
            f"WARNING! Your credentials are stored unencrypted in '{filed.path}'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n"
        )
    screen.write("Login Succeeded\n")
