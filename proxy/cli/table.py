"""Rows in columns, for people: numbers to the right, names to the left."""

from __future__ import annotations

from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int, *, last_left: bool = False) -> str:
    """Return the rows under their heads; the first `left` columns are aligned to the left, the others to the right.

    `last_left`: whether the last one is words and goes to the left as well.
    """
    lines = [tuple(head.upper() for head in heads), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left or (last_left and column == len(widths) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
