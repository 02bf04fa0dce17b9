"""`python -m proxy.dataplane`: a worker process, started by the supervisor and by nobody else.

It serves until it is told to drain; without a supervisor it serves on for a while (see `service`). Signals of the
terminal are the supervisor's business. What stands on the command line, address and supervisor, is also how a new
supervisor recognises a worker whose own one is dead.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import socket
import sys

import uvloop

from proxy.dataplane.service import Service


def main() -> int:
    """Serve until told to leave; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m proxy.dataplane")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--supervisor", type=int, required=True, metavar="PID")
    parser.add_argument("--listen", action="append", default=[], metavar="FD=ADDRESS")
    options = parser.parse_args()
    for terminal_signal in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(terminal_signal, signal.SIG_IGN)
    channel = socket.socket(fileno=options.channel)
    bound = [each.partition("=") for each in options.listen]
    listeners = [(address, socket.socket(fileno=int(descriptor))) for descriptor, _, address in bound]
    # Nothing made so far will ever be garbage, and on the data path nothing is cyclic: look seldom.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Service(channel, listeners, options.workers).run())


if __name__ == "__main__":
    sys.exit(main())
