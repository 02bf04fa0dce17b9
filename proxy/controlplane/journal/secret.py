"""The secret that signs session cookies: made once, kept beside the journal, so that a restart logs nobody out."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from proxy.controlplane.errors import StartError

SIZE = 32
_NAME = "secret"


def load_secret(state_dir: str | None) -> bytes:
    """Return the secret in `state_dir`, creating folder and file when they are missing; a new one each time for None.

    Raises StartError when it can be neither read nor written, or is readable but damaged.
    """
    if state_dir is None:
        return secrets.token_bytes(SIZE)
    path = Path(state_dir) / _NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        secret = path.read_bytes()
    except OSError as error:
        raise StartError(
            f"cannot keep state in {state_dir}: {error.strerror}; "
            "choose another `state_dir`, or `memory` to keep none"
        ) from error
    if len(secret) != SIZE:
        raise StartError(f"{path} is damaged: remove it, and sticky sessions start anew")
    return secret


def _create(path: Path) -> None:
    """Put a complete file in place, readable by its owner only; of two at the same time the first one wins."""
    draft = path.with_name(f"{_NAME}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secrets.token_bytes(SIZE))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
