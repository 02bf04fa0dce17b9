"""A worker that serves nobody, notices what its first argument says, and reports what it is told, in that order.

nothing: notices nothing.
all:INDEX: the worker with this index notices, whenever it gets a snapshot of revision 2 or more, that every server in
  it is out, and then that every version is.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

from proxy.core.snapshot import Snapshot
from proxy.ipc.messages import Applied, Apply, Drain, Drained, Message, Noticed, Probed, Quiet, Ready, Stats
from proxy.telemetry.fold import Fold
from tests.support.scripted_worker import messages, say

AWAY_S = 600.0
_HEARD = "heard"
_LATE = "late"


def command(script: str = "nothing") -> tuple[str, ...]:
    """How a supervisor is to start a worker that does this."""
    return (sys.executable, "-m", "tests.support.noticing_worker", script)


def heard(fold: Fold, pid: int) -> list[tuple[str, ...]]:
    """What the worker process has been told, in order: snapshots by revision, servers that are out, news."""
    told = sorted((int(number), tuple(words)) for (of, number, *words) in fold.counters(_HEARD) if of == str(pid))
    return [words for _, words in told]


def lateness_s(fold: Fold) -> list[float]:
    """How long after a worker noticed each thing the others knew it, in seconds."""
    return list(fold.counters(_LATE).values())


def main() -> int:
    """Do what the script says; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("script")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--index", type=int, required=True)
    options, _ = parser.parse_known_args()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=options.channel) as sock:
        return obey(sock, notices=options.script == f"all:{options.index}")


def obey(sock: socket.socket, *, notices: bool) -> int:
    """Answer the supervisor until it says leave, or is gone."""
    pid = str(os.getpid())
    say(sock, Ready())
    for sent, message in enumerate(messages(sock), 1):
        match message:
            case Apply(snapshot):
                say(sock, Applied(snapshot.revision))
                if notices and snapshot.revision > 1:
                    for news in news_of(snapshot):
                        say(sock, news)
            case Drain():
                say(sock, Quiet())
                say(sock, Drained(0))
                return 0
        late = [(_LATE, (pid, str(sent)), time.monotonic() - message.until + AWAY_S)] \
            if isinstance(message, Noticed) else []
        say(sock, Stats(sent, [(_HEARD, (pid, str(sent), *words_of(message)), 1.0), *late]))
    return 0


def news_of(snapshot: Snapshot) -> Iterator[Noticed]:
    for version in snapshot.versions:
        for address in (*(server.address for server in version.servers), ""):
            yield Noticed(version.name, address, True, snapshot.revision, time.monotonic() + AWAY_S, 1, "it said so")


def words_of(message: Message) -> tuple[str, ...]:
    match message:
        case Apply(snapshot):
            return "apply", str(snapshot.revision)
        case Probed(out):
            return ("probed", *(address for _, address in out))
        case Noticed(version, server, out):
            return "noticed", version, server, "out" if out else "in"
    return (type(message).__name__.lower(),)


if __name__ == "__main__":
    sys.exit(main())
