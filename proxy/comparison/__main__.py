"""`python -m proxy.comparison`: the comparer, started by the supervisor and by nobody else.

It leaves when its supervisor does. Comparing may lag and traffic may not, so it runs at a lower priority than the
workers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys

import uvloop

from proxy.comparison.backlog import MOST_BYTES
from proxy.comparison.service import Service

_NICE = 10
"""About a tenth of the share of a CPU that a worker gets where both want it (sched(7): 1.25 for each step)."""


def main() -> int:
    """Compare until the supervisor is gone; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m proxy.comparison")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--queue", type=int, default=MOST_BYTES, metavar="BYTES")
    options = parser.parse_args()
    for terminal_signal in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(terminal_signal, signal.SIG_IGN)
    _step_back()
    channel, door = socket.socket(fileno=options.channel), socket.socket(fileno=options.listen)
    # Nothing made so far will ever be garbage. What is kept lives long, so look at it seldom; but at what is young in
    # small portions, or one look takes longer than an answer may.
    gc.freeze()
    gc.set_threshold(10_000, 10, 20)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Service(channel, door, options.queue).run())
    return 0


def _step_back() -> None:
    os.nice(_NICE)
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):      # a sandbox may forbid it; being nice does most of it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


if __name__ == "__main__":
    sys.exit(main())
