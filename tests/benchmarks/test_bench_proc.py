from __future__ import annotations

import os

from benchmarks import proc

STAT = ("4242 (a (strange) name) S 17 4242 4242 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 1 0 123456 1000 200 "
        "18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 0 0 0 0 0 0")


def test_cpu_time_is_user_plus_system_of_the_process_itself() -> None:
    found = proc.parse_stat(STAT)
    assert (found.pid, found.parent, found.started) == (4242, 17, 123456)
    assert found.cpu_s == 300 / proc.TICKS_PER_S


def test_memory_is_read_in_bytes() -> None:
    text = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:    2048 kB\nPss:    1024 kB\nPss_Anon:   512 kB\n"
    assert proc.parse_smaps_rollup(text) == proc.Memory(rss=2048 * 1024, pss=1024 * 1024)


def test_only_established_connections_have_an_owner() -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rows = ("   0: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 777 1\n"
            "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 778 1\n")
    assert proc.parse_net_tcp(head + rows) == {(8080, 0xC001): "777"}


def test_this_process_is_in_its_own_tree() -> None:
    assert proc.tree(os.getpid())[0].pid == os.getpid()


def test_a_process_that_is_gone_is_not_mistaken_for_another() -> None:
    me = proc.read(os.getpid())
    assert me is not None
    assert proc.is_same(me)
    assert not proc.is_same(proc.Process(me.pid, me.parent, me.started + 1, 0.0))
