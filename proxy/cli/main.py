"""The `turnout` command. A verb's module is imported only when the verb is used.

So `--version` and `--help` import click and nothing else, and a verb that cannot be imported breaks no other.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

import click

from proxy import __version__

VERBS: dict[str, tuple[str, str]] = {
    "run": ("proxy.cli.run:run", "Start the proxy: from a file, or from two addresses."),
    "status": ("proxy.cli.status:status", "Show what goes where, how it fares, and the workers."),
    "check": ("proxy.cli.check:check", "Check the configuration: every problem with its line, or a summary."),
    "schema": ("proxy.cli.schema:schema", "Print the JSON Schema of the configuration file."),
    "demo": ("proxy.cli.demo:demo", "Show a small migration between two built-in servers, live."),
}
"""Verb → where its command is, and what the list of verbs says of it."""


class Verbs(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order of the table: first things first."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's command; None for an unknown verb."""
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(import_module(module), name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, summary) for verb, (_, summary) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="turnout", message="%(prog)s %(version)s")
def main() -> None:
    """Turnout moves live traffic from an old version of a service to a new one, and back.

    Exit codes: 0 ok, 1 failed, 2 usage, 3 the configuration is wrong, 4 unreachable, 5 conflict.
    """
