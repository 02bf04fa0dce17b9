"""httpbin as a server behind Turnout: its WSGI application in a threaded server, in a process of its own.

A process, because the application brings libraries whose warnings are not ours to mend.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def httpbin() -> Iterator[int]:
    """Serve httpbin on loopback; yields its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.httpbin_server"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, "httpbin did not start"
        yield int(line)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def main() -> None:
    """Serve until the one who started this is gone: then standard input ends."""
    import threading

    from httpbin import app
    from werkzeug.serving import make_server

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("wsgi.input_terminated"):
            # httpbin trusts one other server alone to undo chunks; this one has done it by now as well.
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        return app(environ, start_response)

    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
