"""What can be wrong with an input."""

import difflib
from collections.abc import Iterable, Mapping

from etl.contract.errors import PrerankError

#: Usual names of our columns in other people's logs, for the hint when one is missing.
_SYNONYMS = {
    "request_id": ("search_id", "query_id", "requestid", "impression_id", "session_id"),
    "ts": ("timestamp", "event_time", "event_timestamp", "time", "datetime", "created_at"),
    "user_id": ("client_id", "visitor_id", "customer_id", "uid", "user", "member_id"),
    "query": ("search_term", "search_query", "user_query", "query_text", "keyword", "keywords", "q", "term"),
    "item_id": ("product_id", "object_id", "doc_id", "document_id", "sku", "asin", "pin_id", "item"),
    "action": ("action_name", "event_type", "event_name", "event", "type"),
    "items": ("item_ids", "candidates", "product_ids", "hits", "docs"),
}


class InputError(PrerankError):
    """The input cannot be read: says where, what was found there and what to do."""

    def __init__(self, where: str, problem: str, advice: str = ""):
        self.where, self.problem, self.advice = where, problem, advice
        super().__init__(where, problem, advice)

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" + (f"; {self.advice}" if self.advice else "")


class MissingColumnsError(InputError):
    """The input lacks required columns; proposes the nearest of those it has."""

    def __init__(
        self, where: str, table: str, missing: Iterable[str], found: Iterable[str], renames: Mapping[str, str]
    ):
        self.table, self.missing, self.found = table, list(missing), list(found)
        self.renames = dict(renames)
        PrerankError.__init__(self, where, table, self.missing, self.found, self.renames)
        self.where, self.problem, self.advice = where, self._problem(), self._advice()

    def _problem(self) -> str:
        wanted = [
            f"{name} (renamed to '{self.renames[name]}')" if name in self.renames else name for name in self.missing
        ]
        return f"{self.table} needs column {', '.join(wanted)}; found: {', '.join(self.found) or 'no columns'}"

    def _advice(self) -> str:
        near = {name: nearest_column(name, self.found) for name in self.missing}
        sets = [f"--set events.columns.{ours}={theirs or '<its name in the input>'}" for ours, theirs in near.items()]
        return f"if it has another name there, say so: {' '.join(sets)}"


def nearest_column(name: str, found: Iterable[str]) -> str | None:
    """The found column that most likely means ``name``: a usual synonym, else the closest spelling."""
    lower = {column.lower(): column for column in found}
    for synonym in _SYNONYMS.get(name, ()):
        if synonym in lower:
            return lower[synonym]
    near = difflib.get_close_matches(name, lower, n=1, cutoff=0.5)
    return lower[near[0]] if near else None
