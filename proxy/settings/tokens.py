"""The tokens of the admin API: read from where the file says, and kept as digests only.

Invariant: no message shows any part of a secret, nor what may be one by mistake: a secret written where the name of
its variable or the path of its file belongs is not quoted either; the place in the file says enough.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from proxy.settings.document import Loc
from proxy.settings.model import TokenSection
from proxy.settings.report import Report
from proxy.settings.values import Token

_LEAST, _MOST = 16, 1024
_VISIBLE = re.compile(rf"[\x21-\x7e]{{{_LEAST},{_MOST}}}")
_SURELY_A_NAME = re.compile(r"(?=.{1,15}$|.*_)[A-Z][A-Z0-9_]*")       # and no secret: too short, or with a `_`
_OF_NOTHING = frozenset(sha256(text).digest() for text in (b"", b"\n"))
_TAKE = "take `openssl rand -hex 32`"

_Given = tuple[str, Callable[[], bytes]]


def read_tokens(sections: Sequence[tuple[Loc, TokenSection]], folder: str, environ: Mapping[str, str],
                report: Report) -> tuple[Token, ...]:
    """The tokens with their digests, read from environment and files; relative paths start at `folder`.

    Reports what is wrong with each, names and secrets that two of them share, and what is probably not meant.
    """
    tokens: list[Token] = []
    holders: dict[bytes, tuple[Loc, str]] = {}
    names: dict[str, Loc] = {}
    for loc, section in sections:
        if section.name in names:
            report.error((*loc, "name"), f"`{section.name}` is already the name of another "
                                         f"({report.source.spot(names[section.name])})")
        names.setdefault(section.name, loc)
        digest = _digest(loc, section, folder, environ, report)
        if digest is None:
            continue
        other_loc, holder = holders.setdefault(digest, (loc, section.name))
        if other_loc != loc:
            report.error((*loc, _source(section)), f"is the same token as that of `{holder}` "
                         f"({report.source.spot(other_loc)}): nobody could tell who made a change")
        tokens.append(Token(section.name, section.role, digest))  # type: ignore[arg-type]  # a checked choice
    if tokens and all(token.role == "viewer" for token in tokens):
        report.warning(("admin", "tokens"), "none has the role `operator`: nobody can change anything through the API")
    return tuple(tokens)


def _source(section: TokenSection) -> str:
    return next(key for key in ("token_env", "token_file", "token_sha256") if getattr(section, key) is not None)


def _digest(loc: Loc, section: TokenSection, folder: str, environ: Mapping[str, str], report: Report) -> bytes | None:
    """The digest of one token; None once it is reported why there is none."""
    readers: dict[str, Callable[[Any], bytes]] = {
        "token_env": lambda name: _from_environment(name, environ),
        "token_file": lambda path: _from_file(os.path.join(folder, path), (*loc, "token_file"), report),
        "token_sha256": _from_digest,
    }
    given = [key for key in readers if getattr(section, key) is not None]
    if len(given) != 1:
        report.error((*loc, given[1]) if given else loc, f"`{given[0]}` is there too: keep one of them" if given else
                     "where is the token? Give one of `token_env`, `token_file` and `token_sha256`")
        return None
    try:
        return readers[given[0]](getattr(section, given[0]))
    except ValueError as error:
        report.error((*loc, given[0]), str(error))
        return None


def _from_environment(name: str, environ: Mapping[str, str]) -> bytes:
    shown = f"the environment variable {name}" if _SURELY_A_NAME.fullmatch(name) else "the variable that is named here"
    secret = environ.get(name, "")
    if not secret:
        raise ValueError(f"{shown} is not set, or empty")
    if not _VISIBLE.fullmatch(secret):
        raise ValueError(f"{shown} must hold {_LEAST} to {_MOST} visible ASCII characters: {_TAKE}")
    return sha256(secret.encode()).digest()


def _from_file(path: str, loc: Loc, report: Report) -> bytes:
    try:
        # Not blocking: a named pipe would hold us up until somebody writes.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ValueError("is not a regular file")
            raw = file.read(_MOST + 3)
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror} (a relative path starts at the folder of this "
                         "configuration)") from None
    secret = raw.decode("latin-1").removesuffix("\n").removesuffix("\r")
    if not _VISIBLE.fullmatch(secret):
        raise ValueError(f"the file must hold {_LEAST} to {_MOST} visible ASCII characters on one line: {_TAKE}")
    if mode & stat.S_IROTH:
        report.warning(loc, "everybody on this machine can read the file: `chmod o-r`")
    return sha256(secret.encode()).digest()


def _from_digest(digest: bytes) -> bytes:
    if digest in _OF_NOTHING:
        raise ValueError("is the hash of nothing: take `printf %s \"$TOKEN\" | sha256sum`")
    return digest
