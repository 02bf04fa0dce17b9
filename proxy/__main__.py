"""`python -m proxy` is the `turnout` command."""

from __future__ import annotations

from proxy.cli.entry import main

if __name__ == "__main__":
    main()
