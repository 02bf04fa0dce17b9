from __future__ import annotations

from proxy.admin.failures import ADDRESSES, BURST, EVERY_S, Failures, network_of


def test_the_first_wrong_tokens_are_only_wrong_and_then_it_takes_patience() -> None:
    failures = Failures()
    assert [failures.add("192.0.2.1", 0.0).retry_after_s for _ in range(BURST)] == [0] * BURST
    assert failures.add("192.0.2.1", 0.0).retry_after_s == EVERY_S
    assert failures.add("192.0.2.1", EVERY_S).retry_after_s == 0
    assert failures.add("192.0.2.1", EVERY_S).retry_after_s > 0


def test_an_attacker_s_guesses_are_bounded_whatever_the_pace() -> None:
    failures = Failures()
    guesses = sum(not failures.add("192.0.2.1", number * 0.001).retry_after_s for number in range(60_000))
    assert guesses <= BURST + 60 / EVERY_S


def test_one_address_does_not_use_up_the_tries_of_another() -> None:
    failures = Failures()
    for _ in range(100):
        failures.add("192.0.2.1", 0.0)
    assert failures.add("192.0.2.2", 0.0).retry_after_s == 0


def test_a_host_with_a_network_of_its_own_counts_as_one() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::1") != network_of("2001:db8:1:2::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("unix uid=1000 pid=5") == network_of("unix uid=1000 pid=6") == "unix uid=1000"


def test_a_million_addresses_take_the_memory_of_a_thousand() -> None:
    failures = Failures()
    for number in range(ADDRESSES * 3):
        failures.add(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(failures) == ADDRESSES
    assert failures.total == ADDRESSES * 3


def test_an_attack_is_told_once_a_minute_with_the_number_of_its_tries() -> None:
    failures = Failures()
    told = [failures.add("192.0.2.1", second / 10).tell for second in range(1200)]
    assert [(at, count) for at, count in enumerate(told) if count] == [(0, 1), (600, 600)]


def test_an_attack_from_everywhere_does_not_fill_the_journal() -> None:
    failures = Failures()
    told = sum(bool(failures.add(f"10.0.{number // 256}.{number % 256}", number / 1000).tell) for number in range(5000))
    assert told == 20
    assert failures.add("192.0.2.1", 61.0).tell == 1
