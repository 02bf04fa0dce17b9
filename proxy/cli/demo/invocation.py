"""How the reader can call this command himself."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache

_NAME = "turnout"
_LONGEST = 24
"""Characters: what it is printed with still fits into a line of 80. A reader further away knows where it is."""


@cache
def command() -> str:
    """Return `turnout`, or the path that is to be typed as long as no shell would find it."""
    if shutil.which(_NAME) or os.path.basename(sys.argv[0]) != _NAME:
        return _NAME
    path = os.path.relpath(sys.argv[0])
    return path if len(path) <= _LONGEST else _NAME
