"""An answer as it was captured, as the value that is compared. Never raises, whatever a server has sent."""

from __future__ import annotations

from proxy.core.compare.values import Answer
from proxy.ipc.pairs import Answered

Fields = tuple[tuple[bytes, bytes], ...]


def fields_of(head: bytes) -> Fields:
    """The fields below the first line of a head; what is no field is left out."""
    found = []
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            found.append((name, value.strip(b" \t")))
    return tuple(found)


def answer_of(answered: Answered) -> Answer:
    """The value for `core.compare`."""
    return Answer(answered.status, fields_of(answered.head), answered.body, answered.whole, answered.took_s)
