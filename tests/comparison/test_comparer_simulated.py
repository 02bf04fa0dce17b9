"""Chance that begins the same way each time, through the real process: what is planted is found, and nothing else."""

from __future__ import annotations

import random

from tests.support.comparing import Bench, pair, run, shadowed
from tests.support.planting import baseline, plants

PAIRS = 3_000
RATE = 0.02


def test_fifty_planted_differences_are_all_found_under_noise_and_nothing_else() -> None:
    planted = plants()
    assert len(planted) == 50

    async def test(it: Bench) -> None:
        chance, worker = random.Random(11), it.worker()
        for number in range(PAIRS):
            primary, control, candidate = (baseline(chance) for _ in range(3))
            for _, _, plant in planted:
                if chance.random() < RATE:
                    plant(candidate)
            worker.tell(pair(primary, candidate, control=control, target=b"/orders/%d" % number))
        await it.compared(PAIRS)
        answer = await it.comparer.ask("differences", "shop", limit=1000)
        assert answer is not None
        found = {(one["path"], one["kind"]) for one in answer["differences"]}
        assert found == {(path, kind) for path, kind, _ in planted} | {("$.items[*]", "missing")}   # the one gone
        rules = await it.comparer.ask("rules", "shop")
        assert rules is not None
        assert rules["ignore"] == ["$.cached", "$.node", "$.notice", "$.served_at"]
        assert rules["unordered"] == ["$.tags"]
        assert rules["because"]["$.served_at"]["control_rate"] > 0.9

    run(test, shadowed(control=True))
