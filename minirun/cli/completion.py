"""`completion`: the script by which a shell asks minirun what could come next."""

from __future__ import annotations

import click

from minirun.cli import app, screen
from minirun.cli.command import Command


@click.command(
    "completion",
    cls=Command,
    examples="""
source <(minirun completion bash)
minirun completion bash > /etc/bash_completion.d/minirun
minirun completion zsh > "${fpath[1]}/_minirun"
minirun completion fish > ~/.config/fish/completions/minirun.fish
""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Print the script that lets a shell complete commands, flags, and names of containers and images."""
    from click.shell_completion import get_completion_class

    from minirun.cli import completionscript

    completionscript.register()
    kind = get_completion_class(shell)
    if kind is not None:
        # the template itself: kind.source() would start the shell to ask its version
        script = kind(app.ROOT, {}, "minirun", app.COMPLETE)
        screen.write(script.source_template % script.source_vars())
