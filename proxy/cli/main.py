"""The `turnout` command. A verb's module is imported only when the verb is used.

So `--version` and `--help` import click and nothing else, and a verb that cannot be imported breaks no other.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

import click
from click.shell_completion import CompletionItem

from proxy import __version__

VERBS: dict[str, tuple[str, str]] = {
    "run": ("proxy.cli.run:run", "Start the proxy: from a file, or from two addresses."),
    "demo": ("proxy.cli.demo:demo", "Show a small migration between two built-in servers, live."),
    "check": ("proxy.cli.check:check", "Check the configuration: every problem with its line, or a summary."),
    "schema": ("proxy.cli.schema:schema", "Print the JSON Schema of the configuration file."),
    "status": ("proxy.cli.status:status", "Show what goes where, how it fares, and the workers; -w live."),
    "servers": ("proxy.cli.servers:servers", "Show every server: its state, what is in flight there, and why."),
    "weight": ("proxy.cli.changes:weight", "Set how a route's requests are divided: weight shop old=90 new=10."),
    "rollback": ("proxy.cli.changes:rollback", "Send all requests to the baseline, now."),
    "undo": ("proxy.cli.changes:undo", "Return a route to what it was before its last change."),
    "confirm": ("proxy.cli.changes:confirm", "Keep a change that would go back by itself."),
    "drain": ("proxy.cli.drain:drain", "Send nothing more to a server or a version, so that it can be stopped."),
    "restore": ("proxy.cli.drain:restore", "Send requests again to what was drained."),
    "shadow": ("proxy.cli.shadow:shadow", "Compare two versions on copies of requests: steer, report, learn, record."),
    "replay": ("proxy.cli.replay:replay", "Send recorded requests again and compare the answers: a regression test."),
    "explain": ("proxy.cli.look:explain", "Say which version a request would get, and why."),
    "events": ("proxy.cli.events:events", "Show who changed what, when and why; -f as it happens."),
    "config": ("proxy.cli.look:config", "Show the configuration in force."),
    "reload": ("proxy.cli.service:reload", "Read the configuration file again and apply it."),
    "upgrade": ("proxy.cli.service:upgrade", "Let a new program take over in place, without losing a request."),
    "healthcheck": ("proxy.cli.health:healthcheck", "Say by the exit code whether it is ready: for containers."),
    "completion": ("proxy.cli.completion:completion", "Print the completion script for bash, zsh or fish."),
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the verbs without importing one, and the options of the group."""
        verbs = [CompletionItem(verb, help=summary) for verb, (_, summary) in VERBS.items()
                 if verb.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, summary) for verb, (_, summary) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="turnout", message="%(prog)s %(version)s")
def main() -> None:
    """Turnout moves live traffic from an old version of a service to a new one, and back.

    Verbs that ask a running Turnout find it at --admin or TURNOUT_ADMIN; TURNOUT_TOKEN holds the token, if one is
    needed.

    Exit codes: 0 ok, 1 failed, 2 usage, 3 the configuration is wrong, 4 unreachable, 5 conflict.
    """
