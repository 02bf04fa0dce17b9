"""Which differences between two configurations a running Turnout cannot take over by a reload."""

from __future__ import annotations

from proxy.settings.values import Settings


def differences_needing_upgrade(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys whose new values wait for `turnout upgrade` (or a restart), in the order of the file; empty for none.

    They are what belongs to the supervisor process itself: its sockets, its number of workers, and its journal.
    Everything else is in force once a reload is acknowledged.
    """
    pairs = {
        "listen": (set(old.listen), set(new.listen)),
        "workers": (old.workers, new.workers),
        "admin.listen": (old.admin.listen, new.admin.listen),
        "state_dir": (old.state_dir, new.state_dir),
        "journal.events": (old.events_kept, new.events_kept),
    }
    return tuple(key for key, (before, after) in pairs.items() if before != after)
