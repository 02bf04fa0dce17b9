"""The secret that signs session cookies: made once, kept beside the journal, so that a restart logs nobody out."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from proxy.controlplane.journal.errors import StateError

SIZE = 32
_NAME = "secret"


def load_secret(state_dir: str | None, handed: bytes = b"") -> bytes:
    """Return the secret in `state_dir`, creating folder and file when they are missing; a new one each time for None.

    `handed`: what a predecessor had, to be taken instead of a new one. Raises StateError when it can be neither read
    nor written, or is readable but damaged.
    """
    if state_dir is None:
        return handed or secrets.token_bytes(SIZE)
    path = Path(state_dir) / _NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path, handed if len(handed) == SIZE else secrets.token_bytes(SIZE))
        secret = path.read_bytes()
    except OSError as error:
        raise StateError(
            f"cannot keep state in {state_dir}: {error.strerror}; "
            "choose another `state_dir`, or `memory` to keep none"
        ) from error
    if len(secret) != SIZE:
        raise StateError(f"{path} is damaged: remove it, and sticky sessions start anew")
    return secret


def _create(path: Path, secret: bytes) -> None:
    """Put a complete file in place, readable by its owner only; of two at the same time the first one wins."""
    draft = path.with_name(f"{_NAME}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
