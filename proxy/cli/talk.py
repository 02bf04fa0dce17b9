"""What every verb that asks the admin API has in common: where it asks, how it prints, and what an error becomes.

Invariant: a verb prints its answer to standard output, what a person should know besides to standard error, and ends
with one of the codes in `exits`; no error of the API or of the network leaves as a traceback.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from proxy.cli import exits
from proxy.cli.address import DEFAULT_ADMIN
from proxy.cli.advice import advice
from proxy.cli.client import TOKEN_VARIABLE, Api, Refused, Unreachable, printable

Verb = Callable[..., None]
_NOT_KNOWN = "Whether it was done is not known: `turnout status` and `turnout events` show it."


@dataclass(frozen=True, slots=True)
class Talk:
    """One invocation's conversation: the API it asks, and whether a program reads (`as_json`) or a person."""

    api: Api
    as_json: bool

    def show(self, answer: object, text: str) -> None:
        """Print the answer as it came for a program, `text` for a person."""
        click.echo(_as_json(answer, indent=2) if self.as_json else text)

    def show_line(self, answer: object, text: str) -> None:
        """Print one of many: JSON on a line of its own, or the text; at once, whoever reads."""
        click.echo(_as_json(answer) if self.as_json else text)
        sys.stdout.flush()


def _as_json(answer: object, indent: int | None = None) -> str:
    """JSON for programs that is also harmless on a terminal: what would steer it is written as an escape."""
    text = json.dumps(answer, indent=indent, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1]
                   for letter in text.replace("\x7f", "\\u007f"))      # the one that json.dumps lets stand


def admin_option(function: Verb) -> Verb:
    """Add --admin, which the environment can give."""
    return click.option("--admin", default=DEFAULT_ADMIN, envvar="TURNOUT_ADMIN", show_default=True, metavar="URL",
                        help="Where the admin API listens; unix:/path works. [env: TURNOUT_ADMIN]")(function)


def asks(invalid: int = exits.USAGE) -> Callable[[Verb], Verb]:
    """Make a function a verb that asks: it gets a Talk first, and --admin and --json; its errors become exit codes.

    `invalid`: the exit code for 422.
    """

    def decorate(function: Verb) -> Verb:
        @admin_option
        @click.option("--json", "as_json", is_flag=True, help="Print the API's answer as JSON.")
        @wraps(function)
        def verb(admin: str, as_json: bool, **arguments: Any) -> None:
            talk = Talk(Api(admin, os.environ.get(TOKEN_VARIABLE)), as_json)
            with _strangers_told(talk.api), _errors_explained(talk, arguments.get("route"), invalid):
                function(talk, **arguments)

        return verb

    return decorate


def warn(text: str) -> None:
    """Tell a person something that is not the answer."""
    click.echo(text, err=True)


def fail(code: int) -> click.exceptions.Exit:
    """Return what ends the verb with this code; everything is said already."""
    return click.exceptions.Exit(code)


def explain_unreachable(error: Unreachable) -> None:
    """Say why nobody answered, and what to try."""
    warn(f"turnout: {error}")
    if error.asked:
        warn(_NOT_KNOWN)
    else:
        warn("Is it running? `turnout run` starts it; --admin names another address.")


@contextmanager
def _strangers_told(api: Api) -> Iterator[None]:
    """JSON that is not what Turnout answers: another program listens there, or another version of this one."""
    try:
        yield
    except UnicodeError:
        raise                   # of the terminal
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        what = f"({type(error).__name__}: {printable(str(error))[:80]})"
        warn(f"turnout: what answers at {api.admin} is not Turnout's admin API, or that of another version {what}")
        if api.asked:
            warn(_NOT_KNOWN)
        raise fail(exits.UNREACHABLE) from None


@contextmanager
def _errors_explained(talk: Talk, route: str | None, invalid: int) -> Iterator[None]:
    try:
        yield
    except Unreachable as error:
        explain_unreachable(error)
        raise fail(exits.UNREACHABLE) from None
    except Refused as error:
        if talk.as_json:
            talk.show(error.problem, "")
        for line in _explained(error):
            warn(printable(line))
        for line in advice(talk.api, error, route):
            warn(printable(line))
        raise fail(exits.of_status(error.status, invalid)) from None


def _explained(error: Refused) -> Iterator[str]:
    """What the problem document says: its detail, and each thing that is wrong unless it is the only one."""
    yield f"turnout: {error.detail}" if error.kind else f"turnout: {error}"
    faults = [fault for fault in error.problem.get("errors") or [] if isinstance(fault, dict)]
    for fault in faults:
        if str(fault.get("detail")) not in error.detail:
            place = next((str(fault[key]) for key in ("pointer", "parameter", "field", "where") if fault.get(key)), "")
            yield f"  {place}{': ' if place else ''}{fault.get('detail')}"
