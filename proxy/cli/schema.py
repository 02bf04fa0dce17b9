"""`turnout schema`: the JSON Schema of the file, for editors."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON (it always is).")
def schema(as_json: bool) -> None:
    """Print the JSON Schema of the configuration file.

    Save it beside the file and let the file begin with
    `# yaml-language-server: $schema=turnout.schema.json`: editors then complete, explain and check keys.

    \b
    Example:
      turnout schema > turnout.schema.json
    """
    from proxy.settings.schema import json_schema  # pydantic, only when it is needed

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
