"""Fifty ways in which a new version may answer otherwise, each in a place of its own, and the page they stand in.

Each plant says under which (path, kind) it is to be reported; what else it brings with it is its own, too. Pure.
"""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Page = dict[str, Any]
Change = Callable[[Page], Any]
Key = tuple[str, str]

NOISE = ("served_at", "trace", "stock", "recommended", "promo")
"""Fields of the page that differ between any two answers: two values, a value now and then, an order, a member that is
not always there."""


@dataclass(frozen=True, slots=True)
class Plant:
    """One difference. `change`: what it does to the page; `body`: what it makes of its text; `with_it`: other groups
    that it brings along."""

    path: str
    kind: str
    change: Change = lambda page: page
    body: Callable[[bytes], bytes] = lambda text: text
    status: int = 200
    fields: Mapping[str, str | None] = field(default_factory=dict)
    endpoint: str = "/json/found"
    with_it: frozenset[Key] = frozenset()

    @property
    def key(self) -> tuple[str, str, str]:
        """Endpoint, path and kind."""
        return self.endpoint, self.path, self.kind


def page() -> Page:
    """What both versions answer, but for the noise."""
    return {
        "id": 4207, "sku": "TO-4207", "name": "Turnout, left",
        "price": {"amount": 19.9, "currency": "EUR", "net": 16.72}, "colour": "brown", "gauge": "h0",
        "weight": 120, "width": 48, "depth": 12, "height": 230, "angle": 15.0, "radius": 360, "sold": 1234567,
        "rating": 4.5, "votes": 1021, "is_new": False, "is_digital": True, "discount": None,
        "maker": {"name": "Weichenwerk", "country": "DE", "since": 1921, "site": "weichenwerk.example"},
        "sizes": ["s", "m", "l", "xl"], "tags": ["track", "left", "manual"], "codes": [1, 2, 3, 5, 8],
        "images": [{"url": f"/i/{number}.png", "width": 640, "height": 480} for number in range(3)],
        "delivery": {"days": 3, "from": "Ulm", "express": True, "cost": 4.9},
        "reviews": [{"by": f"user {number}", "stars": 5 - number, "text": "good"} for number in range(3)],
        "links": {"self": "/found", "next": "/found?page=2", "up": "/"}, "notes": [], "options": {},
    }


def _at(page_: Page, path: str) -> tuple[Any, Any]:
    """The container of the member at `a.b.0.c`, and its name there."""
    *way, last = path.split(".")
    place: Any = page_
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    return place, int(last) if last.isdigit() else last


def _set(path: str, value: object) -> Change:
    def change(page_: Page) -> Page:
        place, name = _at(page_, path)
        place[name] = value
        return page_
    return change


def _drop(path: str) -> Change:
    def change(page_: Page) -> Page:
        place, name = _at(page_, path)
        del place[name]
        return page_
    return change


def _general(path: str) -> str:
    """`a.0.c` as the comparison names it: `$.a[*].c`."""
    return "$" + "".join("[*]" if step.isdigit() else f".{step}" for step in path.split("."))


def _leaves() -> list[Plant]:
    gone = ["sku", "price.net", "maker.site", "links.next", "images.1.height", "delivery.express", "options",
            "reviews.2.text"]
    new = {"beta": True, "price.gross": 23.68, "maker.owner": "x", "images.0.alt": "a turnout", "delivery.by": "rail"}
    types = {"id": "4207", "weight": 120.5, "is_new": "false", "discount": 0, "rating": None, "maker.since": "1921",
             "sizes": "s m l xl", "notes": {}, "reviews.0.stars": "5", "delivery.cost": [4.9]}
    values = {"name": "Turnout, right", "price.amount": 19.91, "price.currency": "CHF", "width": -48,
              "is_digital": False, "gauge": "H0", "sold": 1234568, "angle": 15.000001, "colour": "bro\u0437n",
              "maker.country": "AT", "images.2.url": "/i/3.png", "links.up": "", "votes": 0, "delivery.days": 4}
    made = [Plant(_general(path), "missing", _drop(path)) for path in gone]
    made += [Plant(_general(path), "extra", _set(path, value)) for path, value in new.items()]
    made += [Plant(_general(path), "value" if path == "weight" else "type", _set(path, value))
             for path, value in types.items()]
    return made + [Plant(_general(path), "value", _set(path, value)) for path, value in values.items()]


def _others() -> list[Plant]:
    return [
        Plant("status", "status", status=203),
        Plant("status", "status-class", status=500),
        Plant("header:cache-control", "header-value", fields={"Cache-Control": "no-store"}),
        Plant("header:content-language", "header-missing", fields={"Content-Language": None}),
        Plant("header:x-plan", "header-extra", fields={"X-Plan": "b"}),
        Plant("$.tags", "order", _set("tags", ["manual", "track", "left"])),
        Plant("$.codes", "length", _set("codes", [1, 2, 3, 5, 8, 13]), with_it=frozenset({("$.codes[*]", "extra")})),
        Plant("body", "unparsable", body=lambda text: text[:-1]),
        Plant("body", "encoding", body=lambda text: gzip.compress(text)[:-20], fields={"Content-Encoding": "gzip"}),
        Plant("$", "type", lambda page_: [page_]),
        Plant("$.trace", "type", _set("trace", 12), with_it=frozenset({("$.trace", "value")})),
        Plant("body", "text", body=lambda text: text.replace(b"good", b"bad"), endpoint="/json/found/text"),
        Plant("body", "bytes", body=lambda text: text[:200] + b"\0" + text[201:], endpoint="/json/found/bytes"),
    ]


PLANTS: tuple[Plant, ...] = (*_leaves(), *_others())
PLAIN = "/json/found"
TYPES = {PLAIN: "application/json", "/json/found/text": "text/plain", "/json/found/bytes": "application/octet-stream"}


def template(plant: Plant | None, endpoint: str) -> bytes:
    """The page's JSON with places for the noise, `%(name)s`; without noise on other endpoints than the first."""
    whole: Page = {**page(), **({name: f"@{name}@" for name in NOISE} if endpoint == PLAIN else {})}
    changed = plant.change(copy.deepcopy(whole)) if plant is not None else whole
    text = json.dumps(changed).replace("%", "%%")
    for name in NOISE:
        text = text.replace(f'"@{name}@"', f"%({name})s")
    return text.encode()
