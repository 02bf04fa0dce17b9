"""Where the `turnout` command begins: a health check is answered before click is imported, everything else by click."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process; leaves by SystemExit with the exit code."""
    if sys.argv[1:2] == ["healthcheck"]:
        from proxy.cli.healthcheck import quick

        code = quick(sys.argv[2:])
        if code is not None:
            sys.exit(code)
    from proxy.cli.main import main as verbs

    verbs(prog_name="turnout")
