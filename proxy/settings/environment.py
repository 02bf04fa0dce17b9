"""`${NAME}` and `${NAME:-default}` in the values of a file.

Invariant: substitution happens inside one value after the YAML is parsed, so what a variable holds is text and can
never become a key, a list or another value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from proxy.settings.units import quote

_REFERENCE = re.compile(r"(?!\A\$(?:[.\[]|\Z))\$(?:(\$)|\{([^{}]*)\}|)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """Replace every reference; `$$` stands for one `$`. Raises ValueError naming every reference that fails.

    A value that begins with `$.` or `$[`, or is a `$` and nothing else, is a JSON path: that sign stands for itself.

    `${NAME}` needs the variable to be set (empty counts as set); `${NAME:-default}` takes the default when it is
    unset or empty, as a shell does.
    """
    problems: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        try:
            return _look_up(match[2], environ)
        except ValueError as error:
            problems.append(str(error))
            return ""

    result = _REFERENCE.sub(replace, text)
    if problems:
        raise ValueError("; ".join(problems))
    return result


def _look_up(reference: str | None, environ: Mapping[str, str]) -> str:
    if reference is None:
        raise ValueError("a lone `$`: write `${NAME}` for an environment variable, or `$$` for the sign itself")
    name, has_default, default = reference.partition(":-")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{quote(f'${{{reference}}}')} names no environment variable: "
                         "write `${NAME}` or `${NAME:-default}`")
    found = environ.get(name)
    if has_default:
        return found or default
    if found is None:
        raise ValueError(f"the environment variable {name} is not set (`${{{name}:-default}}` gives a default)")
    return found
