"""The reference of the command line, docs/cli.md, written from the commands themselves.

    python -m proxy.cli.reference > docs/cli.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import cleandoc

import click

from proxy.cli.main import VERBS, main

_HEAD = """\
# The command line

Written by `python -m proxy.cli.reference > docs/cli.md`; a test holds it to what the commands say.

    turnout VERB [OPTIONS] [ARGUMENTS]
"""
_RECORDINGS = """\
## Recordings

`turnout shadow ROUTE record FILE` writes one JSON object a line, and `GET /api/v1/routes/{route}/shadow/record` streams
the same lines. Heads and targets hold one character for each byte (Latin-1); values of fields, parameters and members
that are known to be secret are replaced by marks such as `<redacted 1a2b3c4d>`.

| member | |
|---|---|
| `at`, `id` | When, in seconds since the epoch, and the request's id. |
| `route`, `version`, `to` | The route; which version answered the client, and which one the copy. |
| `method`, `target`, `endpoint` | `target`: path and query as they came; `endpoint`: what they are grouped as. |
| `head` | The request's fields: a list of values for each name. |
| `body` | The request's body without transfer and content coding: `{"text": ...}`, or `{"base64": ...}` where it is \
not UTF-8, or `{"left_out": REASON}` where it is not in the recording. |
| `primary`, `shadow` | The client's answer, and the copy's: `status` (0: none came, and `body` says why), `head`, \
`body`, `whole` (whether the body is there, and not cut), `took_s`. |

A body is left out when it is too long to be held (`streamed`), when to look it through for secrets would take too long
(`costly`), when nobody can decode it (`coding`), or when its chunks cannot be read (`framing`). `replay` sends no such
request, and counts it.

The stream also has lines for its reader, which are in no file: a blank one now and then says that it is alive,
`{"lost": N}` says how many came faster than they were read, and the last one says why it ends: `{"ended": "off"}`
(nothing of the route is compared any more), `{"ended": "forbidden"}`, or `{"ended": "leaving"}`: ask again, a successor
answers. A stream without such a line broke off.

"""
_EXIT_CODES = """\
## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed: what was asked for could not be done, or is not allowed; of `replay`: answers differ or did not come; \
of `drain --wait`: not idle in time |
| 2 | usage: the command line is wrong, or names what cannot be (a version that the route has not) |
| 3 | the configuration is wrong (`check`, `run`, `reload`): every problem is printed |
| 4 | nobody who is Turnout answers at --admin; of `replay`: nobody answers at --to |
| 5 | conflict: changed by somebody else (--if-revision), nothing to undo or to confirm, the baseline is down, \
or a server is still needed |

`healthcheck` answers with 0 and 1 only, as containers want it.

## Environment

| variable | meaning |
|---|---|
| `TURNOUT_ADMIN` | where the admin API listens, as --admin |
| `TURNOUT_TOKEN` | the token, where one is needed; never an argument, which everybody's process list would show |
| `NO_COLOR` | `demo` draws without colours |
"""


def reference() -> str:
    """Return the whole page as Markdown."""
    context = click.Context(main, info_name="turnout")
    verbs = [(verb, main.get_command(context, verb)) for verb in VERBS]
    contents = [f"| [`{verb}`](#{verb}) | {summary} |" for verb, (_, summary) in VERBS.items()]
    parts = [_HEAD, "| verb | |\n|---|---|", *contents]
    for verb, command in verbs:
        assert command is not None, "the table of verbs names it"
        parts += ["", *_section(verb, command, context)]
    return "\n".join([*parts, "", _RECORDINGS + _EXIT_CODES])


def _section(verb: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=verb, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"## {verb}\n\n    turnout {verb} {usage}\n"
    yield from _help(cleandoc(command.help or ""))
    options = [param for param in command.params if isinstance(param, click.Option)]
    if options:
        yield "| option | |\n|---|---|"
        yield from (_row(option) for option in options)


def _help(text: str) -> Iterator[str]:
    r"""Paragraphs as they are; one that begins with \b is kept line by line."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b\n"):
            title, *lines = paragraph.removeprefix("\b\n").split("\n")
            yield f"{title}\n"
            yield "\n".join(f"  {line}" for line in lines) + "\n"
        else:
            yield paragraph + "\n"


def _row(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    default = f" (default: `{option.default}`)" if option.show_default else ""
    return f"| `{names}{value}` | {option.help or ''}{default} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
