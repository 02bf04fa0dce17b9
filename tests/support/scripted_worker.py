"""A worker that serves nobody and does what its first argument says: for tests of the supervisor.

obeys: acknowledges, reports one request, leaves when told to (as a real worker does).
deaf-after-first: acknowledges its first snapshot and no other.
silent: acknowledges and never says anything again, not even when told to leave.
mute: acknowledges nothing, and leaves when told to.
dies: ends with exit code 7 before it has read anything.
dies-once:FLAG: so, if the file FLAG does not exist, and creates it; obeys otherwise.
babbles: acknowledges and then sends what is no message.
commands: acknowledges and then sends what only a supervisor may.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import socket
import sys
import termios
from array import array
from collections.abc import Iterator

from proxy.ipc.frames import Frames, frame
from proxy.ipc.messages import Applied, Apply, Drain, Drained, Message, Quiet, Ready, Stats, encode
from proxy.ipc.reader import Reader


def command(script: str) -> tuple[str, ...]:
    """How a supervisor is to start a worker that does this."""
    return (sys.executable, __file__, script)


def main() -> int:
    """Do what the script says; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("script")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--supervisor", type=int, required=True)
    parser.add_argument("--listen", action="append", default=[])
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    script, _, flag = options.script.partition(":")
    if script == "dies" or (script == "dies-once" and not os.path.exists(flag)):
        if flag:
            open(flag, "x").close()
        return 7
    with socket.socket(fileno=options.channel) as sock:
        return obey(sock, script)


def obey(sock: socket.socket, script: str) -> int:
    """Answer the supervisor until it says leave, or is gone."""
    applied = 0
    say(sock, Ready())
    for message in messages(sock):
        match message:
            case Apply(snapshot, cut) if script != "mute" and (script != "deaf-after-first" or not applied):
                applied += 1
                say(sock, Applied(snapshot.revision))
                say(sock, Stats(applied, [("turnout_requests_total", ("shop", "old", "200"), 1.0),
                                          *(("cut", pair, 1.0) for pair in cut)],
                                [("turnout_connections", (), 3.0)]))
                if script in ("babbles", "commands"):
                    wait_until_read(sock)  # a batch with a broken message in it is thrown away whole
                if script == "babbles":
                    sock.sendall(frame(b"\xc1"))
                if script == "commands":
                    say(sock, Drain(1.0))
            case Drain() if script != "silent":
                say(sock, Stats(applied + 1, [("turnout_requests_total", ("shop", "old", "200"), 10.0)]))
                say(sock, Quiet())
                say(sock, Drained(2))
                return 0
    return 0


def wait_until_read(sock: socket.socket) -> None:
    """Return when the other end has read everything; it always does, or is gone and this process with it."""
    unread = array("i", [1])
    while unread[0]:
        fcntl.ioctl(sock, termios.TIOCOUTQ, unread)


def messages(sock: socket.socket) -> Iterator[Message]:
    """What the supervisor says, until it is gone."""
    frames, reader = Frames(), Reader()
    while data := sock.recv(65536):
        yield from map(reader.read, frames.feed(data))


def say(sock: socket.socket, message: Message) -> None:
    """Send one message."""
    sock.sendall(frame(encode(message)))


if __name__ == "__main__":
    sys.exit(main())
