"""Answers with noise in five fields, and fifty differences to plant in them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Plant = Callable[[dict[str, Any]], None]


def baseline(chance: random.Random) -> dict[str, Any]:
    """An answer with noise in five fields: always, often, now and then, in its order, and by leaving one out."""
    answer: dict[str, Any] = {f"field{chr(97 + n // 26)}{chr(97 + n % 26)}": n for n in range(40)}
    answer |= {
        "served_at": chance.random(), "node": chance.choice(["n1", "n2", "n3"]),
        "cached": chance.random() < 0.1, "tags": chance.sample(["a", "b", "c"], 3),
        "items": [{"id": n, "price": n * 1.5, "stock": {"left": n}} for n in range(4)],
    }
    if chance.random() < 0.05:
        answer["notice"] = "maintenance tonight"
    return answer


def plants() -> list[tuple[str, str, Plant]]:
    """Fifty differences: where and as what each is to be found, and how it is made."""
    def leave_out(name: str) -> Plant:
        return lambda answer: answer.pop(name)

    def make(name: str, value: Any) -> Plant:
        return lambda answer: answer.__setitem__(name, value)

    names = [f"field{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(40)]
    made: list[tuple[str, str, Plant]] = [(f"$.{name}", "missing", leave_out(name)) for name in names[:12]]
    made += [(f"$.{name}", "value", make(name, -1)) for name in names[12:26]]
    made += [(f"$.{name}", "type", make(name, str(number))) for number, name in enumerate(names[26:38])]
    made += [(f"$.new{letter}", "extra", make(f"new{letter}", 1)) for letter in "abcde"]
    made += [
        ("$.served_at", "type", make("served_at", "now")), ("$.node", "missing", leave_out("node")),
        ("$.items[*].price", "value", lambda answer: answer["items"][2].update(price=0)),
        ("$.items[*].stock.left", "type", lambda answer: answer["items"][1]["stock"].update(left=None)),
        ("$.items", "length", lambda answer: answer["items"].pop()),
        ("$.tags", "type", make("tags", None)), ("$.cached", "type", make("cached", 0)),
    ]
    return made
