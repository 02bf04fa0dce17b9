"""What metrics and the access log cost in a worker's own code: its real objects, without the network around them.

Requests are parsed, steered and counted as in the data path; the log is written to a file by its own thread. CPU time
of `line_written_us` is that of the whole process, the log's writing thread included; `line_us` is what the data path
itself pays.

Run as a program of its own: python -m benchmarks.loads.remembering FOLDER prints one JSON line (µs per request).
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from benchmarks.loads import requests
from proxy.clock import monotonic
from proxy.core.choice import Choice
from proxy.dataplane.accesslog import AccessLog
from proxy.dataplane.worker import Worker
from proxy.settings.load import from_urls

if TYPE_CHECKING:
    from proxy.dataplane.accesslog import Ended
    from proxy.dataplane.site import Site

AMOUNT = 20_000
AT_ONCE = 2000                                  # lines, before the log's thread is waited for: it would drop some
ROUNDS = 15


def stories(site: Site) -> list[Ended]:
    """As many different exchanges that have ended, one of ten at the new version."""
    parser = site.requests
    made: list[Ended] = []
    for number in range(AMOUNT):
        request = parser.parse(requests.request(number, f"/item/{number}", f"id-{number}"))
        request.client, request.raw, request.parts = "127.0.0.1", b"", []
        index = int(number % 10 == 0)
        backend = site.backends[0][index]
        started = monotonic() + number * 25e-6
        made.append((request, b"5f1c0b7d-%d" % number, backend, Choice(index, backend.version, "sticky"),
                     backend.fleet.servers[0], 1, 200, 0, 28, started, started + 3e-4, started + 3e-4, ""))
    return made


def bare(ended: list[Ended]) -> None:
    """The loop alone."""
    for _ in ended:
        pass


def counted(ended: list[Ended]) -> None:
    """Metrics as `Sending` and `Exchange` keep them: in flight, status, duration, bytes."""
    for story in ended:
        tally = story[2].tally  # type: ignore[union-attr]
        tally.inflight += 1
        tally.done(story[6], story[11] - story[9])
        tally.sent += story[8]


async def measure(folder: Path) -> dict[str, float]:
    """Medians over rounds, µs per request. A coroutine: a worker belongs to a loop, which has nothing to do here."""
    settings = from_urls("http://127.0.0.1:9001", "http://127.0.0.1:9002", 10)
    worker = Worker(settings.snapshot(1, b"0" * 32))
    counters, site = worker.counters, worker.site
    path = folder / "remembering.log"
    log, ended = AccessLog(str(path), monotonic), stories(site)
    gc.disable()
    loop_us, metrics_us, line_us, written_us = [], [], [], []
    for _ in range(ROUNDS):
        before = time.thread_time()
        bare(ended)
        loop = time.thread_time() - before
        before = time.thread_time()
        counted(ended)
        metrics_us.append((time.thread_time() - before - loop) / AMOUNT * 1e6)
        before, before_all = time.thread_time(), time.process_time()
        for start in range(0, AMOUNT, AT_ONCE):
            for story in ended[start:start + AT_ONCE]:
                log.add(story)
            _until_written(log)
        log.flush()
        line_us.append((time.thread_time() - before - loop) / AMOUNT * 1e6)
        written_us.append((time.process_time() - before_all - loop) / AMOUNT * 1e6)
        loop_us.append(loop / AMOUNT * 1e6)
        os.truncate(path, 0)                    # or the time to find fresh memory for the file would be in it
        counters.collect()
    log.close(counters)
    return {"metrics_us": statistics.median(metrics_us), "line_us": statistics.median(line_us),
            "line_written_us": statistics.median(written_us), "loop_us": statistics.median(loop_us),
            "dropped": float(counters.log_dropped)}


def _until_written(log: AccessLog) -> None:
    while log._sink._held or log._sink._in_hand:
        time.sleep(0.001)


def main() -> None:
    print(json.dumps(uvloop.run(measure(Path(sys.argv[1])))))


if __name__ == "__main__":
    main()
