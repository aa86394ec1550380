"""An explanation in a terminal: what the pair is, then the sum, the largest parts first."""

from collections.abc import Mapping, Sequence
from typing import Any

from etl.contract.printable import one_line
from scoring.terminal import text_table

_Plain = Mapping[str, Any]


def explain_text(result: _Plain) -> str:
    """Lines about the pair, a table of heads, a table of parts that ends with the score."""
    segments = ", ".join(f"{name} {value}" for name, value in sorted(result["segments"].items()))
    about = [
        ("request", f"{result['request_id']}  '{result['query_key']}'"),
        ("user", f"{result['user_id'] or 'none'}{f'  ({segments})' if segments else ''}"),
        ("item", f"{result['item_id']}  {_candidate(result)}, in the catalogue of {result['catalogue']}"),
        ("model", f"{result['model']} {result['model_version']}, interactions as of {result['as_of']}"),
        ("rank", _rank(result)),
    ]
    lines = [f"{name:<8} {one_line(text)}" for name, text in about]
    return "\n".join([*lines, "", text_table(_head_rows(result)), "", text_table(_part_rows(result))])


def _candidate(result: _Plain) -> str:
    count = result["candidates"]
    if count is None:
        return "perhaps a candidate: the request's list could not be read"
    return f"one of {count} candidates" if result["is_candidate"] else f"not one of the request's {count} candidates"


def _rank(result: _Plain) -> str:
    day = f"scores of {result['ds']}"
    if not result["stored"]:
        return f"unknown: {day} hold no ranking by this model version; prerank score writes it"
    if result["rank"] is None:
        kept = f"not among the {result['ranked']} that {day} keep"
        return f"{kept}, as it is no candidate" if result["is_candidate"] is False else kept
    return f"{result['rank']} of {result['ranked']} kept in {day}, with score {result['stored_score']:.6g}"


def _head_rows(result: _Plain) -> list[list[str]]:
    rows = [["head", "weight", "dot product", "logit"]]
    return rows + [
        [head["head"], _number(head["weight"]), _number(head["dot"]), _number(head["logit"])]
        for head in result["heads"]
    ]


def _part_rows(result: _Plain) -> list[list[str]]:
    """Parts by the size of their contribution; features that are 0 share one line."""
    order = sorted(result["parts"], key=lambda part: -abs(part["contribution"] or 0.0))
    shown = [part for part in order if part["raw"] != 0.0]
    zeros = [part for part in order if part["raw"] == 0.0]
    rows = [["part", "raw", "scaled", "weight", "contribution"], *map(_row, shown)]
    if zeros:
        summed = zeros[0]["contribution"] is not None
        total = sum(part["contribution"] or 0.0 for part in zeros)
        rows.append([_counted(zeros), "0", "", "", _number(total if summed else None)])
    return [*rows, ["score", "", "", "", f"{result['score']:.6f}"]]


def _row(part: _Plain) -> list[str]:
    return [part["name"], *(_number(part[name]) for name in ("raw", "scaled", "weight", "contribution"))]


def _counted(zeros: Sequence[_Plain]) -> str:
    return f"{len(zeros)} feature{'s' if len(zeros) != 1 else ''} of value 0"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
