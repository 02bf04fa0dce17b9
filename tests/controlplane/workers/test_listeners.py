from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from proxy.controlplane.errors import StartError
from proxy.controlplane.workers.listeners import open_listeners
from proxy.core.listen import Listen

LOCAL = Listen("127.0.0.1", 0)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_each_worker_has_its_own_socket_on_the_same_port() -> None:
    listeners = open_listeners([LOCAL], workers=3)
    sockets = [listeners.bound_of(worker)[0][1] for worker in range(3)]
    assert len({sock.fileno() for sock in sockets}) == 3
    assert {sock.getsockname() for sock in sockets} == {("127.0.0.1", port_of(listeners.addresses[0]))}
    listeners.close()


def test_a_connection_is_accepted_from_one_of_the_sockets() -> None:
    listeners = open_listeners([LOCAL], workers=2)
    with socket.create_connection(("127.0.0.1", port_of(listeners.addresses[0])), timeout=5):
        accepted = 0
        for worker in range(2):
            try:
                listeners.bound_of(worker)[0][1].accept()[0].close()
                accepted += 1
            except BlockingIOError:
                pass
        assert accepted == 1
    listeners.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_is_refused_and_its_holder_named(workers: int) -> None:
    first = open_listeners([LOCAL], workers)
    with pytest.raises(StartError, match=rf"cannot listen on {first.addresses[0]}: .*pid {os.getpid()}.* already"):
        open_listeners([Listen("127.0.0.1", port_of(first.addresses[0]))], workers)
    first.close()


def test_nothing_stays_open_when_one_of_several_addresses_cannot_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(StartError):
            open_listeners([Listen("127.0.0.1", port), Listen("127.0.0.1", taken.getsockname()[1])], workers=2)
        open_listeners([Listen("127.0.0.1", port)], workers=2).close()


def test_an_address_that_this_host_does_not_have_is_explained() -> None:
    with pytest.raises(StartError, match="this host has no such address"):
        open_listeners([Listen("192.0.2.1", 8080)], workers=1)


def test_a_name_that_does_not_resolve_is_explained() -> None:
    with pytest.raises(StartError, match="does not resolve"):
        open_listeners([Listen("nowhere.invalid", 8080)], workers=1)


def test_a_name_with_several_addresses_is_bound_on_all_of_them_with_one_port() -> None:
    listeners = open_listeners([Listen("localhost", 0)], workers=2)
    assert len({port_of(address) for address in listeners.addresses}) == 1
    listeners.close()


def test_ipv6_and_ipv4_wildcards_can_both_be_listed() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    first = open_listeners([Listen("::", 0)], workers=2)
    port = port_of(first.addresses[0])
    assert first.addresses == (f"[::]:{port}",)
    open_listeners([Listen("0.0.0.0", port)], workers=2).close()
    first.close()


def unix(path: Path) -> Listen:
    return Listen("", 0, str(path))


def test_a_unix_socket_is_shared_by_all_workers_and_its_file_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listeners = open_listeners([unix(path)], workers=2)
    assert listeners.bound_of(0) == listeners.bound_of(1)
    assert listeners.addresses == (f"unix:{path}",)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listeners.close()
    assert not path.exists()


def test_the_file_of_a_unix_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    open_listeners([unix(path)], workers=1).close()


def test_a_unix_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    first = open_listeners([unix(tmp_path / "s")], workers=1)
    with pytest.raises(StartError, match="already"):
        open_listeners([unix(tmp_path / "s")], workers=1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
    first.close()


def test_a_unix_socket_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = open_listeners([unix(path)], workers=1)
    path.unlink()
    second = open_listeners([unix(path)], workers=1)
    first.close()
    assert path.exists()
    second.close()


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(StartError, match="not a socket"):
        open_listeners([unix(path)], workers=1)
    assert path.read_text() == "data"


def test_a_missing_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="folder does not exist"):
        open_listeners([unix(tmp_path / "none" / "s")], workers=1)
