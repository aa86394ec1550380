"""An ablation's ladder, in words and as a plot."""

from collections.abc import Mapping
from typing import Any

from etl.contract.manifest import TEST

HEADLINE = "hits@3"


def total_words(result: Mapping[str, Any]) -> list[str]:
    """What the last rung that was carried on is worth against the first, on the test split."""
    total = result["total"]
    found = total[TEST]
    gained, relative, closed = found.get(HEADLINE), found["relative"], found["gap_closed"]
    if gained is None:
        return []
    low, high = found[f"{HEADLINE}_ci"]
    said = f"{total['rung']} minus {total['before']}, {TEST}: {HEADLINE} {gained:+.3f} [{low:+.3f}, {high:+.3f}]"
    said += "" if relative is None else f", {100 * relative:+.1f} %"
    return [said + ("" if closed is None else f"; {100 * closed:.0f} % of the gap to the oracle")]
