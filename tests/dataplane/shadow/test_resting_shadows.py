"""A shadow that keeps failing gets a few copies now and then, not thousands of connections a second in vain."""

from __future__ import annotations

from proxy.dataplane.shadow.budget import PATIENCE, REST_S, TRIAL
from tests.support.origins import Peer, StrictOrigin, ok
from tests.support.shadowing import shadowed
from tests.support.story import Story, WatchedWorker, dead_address, get
from tests.support.wire import Address


def failing(story: Story, shadow: StrictOrigin | Address) -> WatchedWorker:
    """A worker whose shadow has failed often enough."""
    worker = shadowed(story, story.strict(), shadow)
    client = story.client(worker)
    for _ in range(PATIENCE):
        client.ask(get())
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
    return worker


def rest(worker: WatchedWorker) -> None:
    """Let the rest begin with one sweep and end with another."""
    worker.expire(0)
    worker.expire(REST_S)


def ask_until(worker: WatchedWorker, outcome: str, count: int) -> None:
    """Ask until so many copies have ended so: time that passes at once looks like a busy worker, which sheds some."""
    for _ in range(20 * count):
        worker.ask(get())
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
        if worker.count("shadow_requests_total", "all", outcome) == count:
            return
    raise AssertionError(f"not so many copies: {outcome}")


def test_after_so_many_failures_in_a_row_nothing_is_copied(story: Story) -> None:
    worker = failing(story, dead_address())
    for _ in range(5):
        assert worker.ask(get()).status == 200
    assert worker.count("shadow_requests_total", "all", "connect") == PATIENCE
    assert worker.count("shadow_skipped_total", "all", "failing") == 5


def test_after_a_rest_one_more_failure_is_enough(story: Story) -> None:
    worker = failing(story, dead_address())
    rest(worker)
    ask_until(worker, "connect", PATIENCE + 1)
    for _ in range(5):
        worker.ask(get())
    assert worker.count("shadow_requests_total", "all", "connect") == PATIENCE + 1
    assert worker.count("shadow_skipped_total", "all", "failing") == 5


def test_a_shadow_that_answers_again_gets_everything_again(story: Story) -> None:
    well = False

    def script(peer: Peer) -> None:
        while peer.read_head() and well:
            peer.send(ok(b"x"))

    worker = failing(story, story.origin(script).address)
    well = True
    rest(worker)
    ask_until(worker, "answered", 2 * PATIENCE)
    assert worker.count("shadow_skipped_total", "all", "failing") == 0


def test_an_answer_now_and_then_is_no_row_of_failures(story: Story) -> None:
    def script(peer: Peer) -> None:
        if peer.read_head() and peer.number % 10 == 0:
            peer.send(ok(b"x", b"Connection: close"))

    worker = failing(story, story.origin(script).address)
    for _ in range(PATIENCE):
        worker.ask(get())
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_requests_total", "all", "closed") + worker.count(
        "shadow_requests_total", "all", "answered") == 2 * PATIENCE


def test_after_a_rest_a_few_copies_try_it(story: Story) -> None:
    silent = story.origin(lambda peer: None if peer.number < PATIENCE else (peer.read_to_end(), None)[1])
    worker = failing(story, silent.address)
    rest(worker)
    for _ in range(20 * TRIAL):
        worker.ask(get())
    silent.wait_until(lambda: silent.connections >= PATIENCE + TRIAL)
    worker.ask(get())
    assert silent.connections == PATIENCE + TRIAL
    assert worker.count("shadow_skipped_total", "all", "in_flight") == 0
    worker.expire(10.0)


def test_many_copies_that_are_late_at_once_are_all_ended(story: Story) -> None:
    silent = story.origin(lambda peer: (peer.read_to_end(), None)[1])
    worker = shadowed(story, story.strict(), silent, timeout_s=5.0)
    for _ in range(45):
        worker.ask(get())
    worker.expire(5.0)
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_requests_total", "all", "timeout") == 45
