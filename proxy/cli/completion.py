"""`turnout completion`: the script that lets a shell complete verbs, options, routes and versions."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

COMPLETE_VARIABLE = "_TURNOUT_COMPLETE"
"""Set by the script when Tab is pressed; click looks for it under this name."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets this shell complete verbs, options, and the routes of the running Turnout.

    \b
    Examples:
      eval "$(turnout completion bash)"                                  # in ~/.bashrc
      eval "$(turnout completion zsh)"                                   # in ~/.zshrc, after compinit
      turnout completion fish > ~/.config/fish/completions/turnout.fish
    """
    script = get_completion_class(shell)
    assert script is not None, "click knows the three shells"
    root = click.get_current_context().find_root().command
    click.echo(script(root, {}, "turnout", COMPLETE_VARIABLE).source())
