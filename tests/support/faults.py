"""A Turnout between servers that can be stopped and killed, and what is needed to look at it from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.support.deadline import wait_until
from tests.support.processes import stand_still
from tests.support.turnout import Turnout, between, running
from tests.support.wire import Address, Wire

_BACKEND = """
    import socket, socketserver, sys

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            while line := self.rfile.readline():
                while self.rfile.readline().strip():
                    continue
                target = line.split(b" ")[1]
                body = target if b"?big=" not in target else None
                size = len(target) if body else int(target.partition(b"=")[2])
                head = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % size
                self.wfile.write(head + body if body else head)  # in one piece, or Nagle's algorithm holds the second
                if not body:
                    piece = b"x" * 65536
                    for _ in range(size // len(piece)):
                        self.wfile.write(piece)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 512
        def handle_error(self, request, client_address):
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
"""


class Backend:
    """A server in a process of its own: answers with the target; `/?big=N` is N bytes."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(_BACKEND)], stdout=subprocess.PIPE,
                                        text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """SIGSTOP: the kernel goes on accepting for it, and it does nothing."""
        stand_still(self.process.pid)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and its end."""
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def whole_program(*, workers: int = 1, config: Path | None = None,
                  timeouts: str = "") -> Iterator[tuple[Turnout, Backend]]:
    """`turnout run` in front of one backend; `timeouts`: YAML lines of that section, written to `config`."""
    with ExitStack() as ends:
        backend = Backend()
        ends.callback(backend.close)
        if config is None:
            arguments = between(backend.url, backend.url, workers=workers)
        else:
            config.write_text(textwrap.dedent(f"""\
                listen: 127.0.0.1:0
                workers: {workers}
                admin: {{listen: 127.0.0.1:0}}
                state_dir: memory
                timeouts: {{{timeouts}}}
                versions: {{old: {{servers: ["{backend.url}"]}}}}
                routes: [{{name: all, match: {{path: /}}, split: {{old: 1}}}}]
                """))
            arguments = ("-c", str(config))
        turnout = ends.enter_context(running(*arguments))
        assert turnout.address
        yield turnout, backend


def workers_of(turnout: Turnout) -> list[int]:
    """The process ids of the workers."""
    children = Path(f"/proc/{turnout.process.pid}/task/{turnout.process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"proxy.dataplane" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def sockets_to(pid: int, port: int) -> int:
    """How many connections of a process lead to this port of the loopback address."""
    mine = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            mine.add(os.readlink(entry))
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and f"socket:[{line[9]}]" in mine for line in lines)


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settled_memory(pid: int) -> int:
    """Resident bytes once they have stopped to grow."""
    seen: list[int] = []

    def look() -> int | None:
        seen.append(memory(pid))
        return seen[-1] if len(seen) > 20 and max(seen[-20:]) == min(seen[-20:]) else None

    return wait_until(look, "memory that stays the same")


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run `work(number)` in this many threads at once; raises what the first that failed raised."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if failures:
        raise failures[0]


@contextmanager
def wires(address: Address, count: int) -> Iterator[list[Wire]]:
    """This many client connections, closed in the end."""
    with ExitStack() as ends:
        yield [ends.enter_context(Wire(address)) for _ in range(count)]
