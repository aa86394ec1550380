"""Names of tables and columns. They are contracts: other systems read the tables by these names."""

EVENTS = "events"
EVENTS_REJECTED = "events_rejected"
INTERACTIONS_DAILY = "interactions_daily"
QUERIES_DAILY = "queries_daily"
INTERACTIONS = "interactions"
QUERY_ITEMS = "query_items"
ITEMS = "items"
QUERIES = "queries"
CANDIDATES = "candidates"
ITEM_VECTORS = "item_vectors"
SCORES = "scores"
MODELS = "models"
RUNS = "runs"
MONITORING = "monitoring"

#: Tables whose files differ by day and query, and in no other key: what else a reader asks for may be in any of them.
BY_QUERY = (INTERACTIONS_DAILY, QUERIES_DAILY, INTERACTIONS, QUERY_ITEMS)

IMPRESSION = "impression"

_PAIR = ("ds", "query_key", "item_id", "segment_name", "segment_value")
#: What a table has under every configuration; the others, and those that came later, are not in here.
ALWAYS_THERE = {
    EVENTS: (
        "event_id", "request_id", "ts", "user_id", "query", "query_key", "item_id", "action", "position", "segments",
        "ds",
    ),
    INTERACTIONS_DAILY: (*_PAIR, "users_sketch"),
    INTERACTIONS: _PAIR,
    QUERIES_DAILY: ("ds", "query_key", "segment_name", "segment_value", "requests"),
    QUERY_ITEMS: ("ds", "query_key"),
    ITEMS: ("ds", "item_id"),
    QUERIES: ("ds", "query_key"),
    CANDIDATES: ("ds", "request_id", "query_key", "user_id", "segments", "items"),
    ITEM_VECTORS: ("ds", "model_version", "item_id", "feature_hash", "vector"),
    SCORES: ("ds", "model_version", "request_id", "query_key", "user_id", "ranked"),
    RUNS: (
        "run_id", "job", "table", "ds", "end_ds", "inputs", "output_version", "definition_hash", "config_hash",
        "status", "started_at", "finished_at",
    ),
}  # fmt: skip

#: The segment that every event counts under once.
ALL_SEGMENT = "all"
ALL_VALUE = ""

SEGMENT_KEY = ("segment_name", "segment_value")
PAIR_KEY = ("query_key", "item_id", *SEGMENT_KEY)
QUERY_KEY = ("query_key", *SEGMENT_KEY)

#: Columns that a raw search log must have, and those it may have beside its segment columns.
RAW_REQUIRED = ("request_id", "ts", "user_id", "query", "item_id", "action")
RAW_OPTIONAL = ("event_id", "position")

USERS_SKETCH = "users_sketch"
#: The cross feature that says whether a pair has interactions under a segment.
HAS_HISTORY = "has_history"


def count(action: str) -> str:
    """Events of a day."""
    return f"{action}_cnt"


def expected(action: str) -> str:
    """Of a day, in millionths: how often the action would have followed, were all items alike at their positions."""
    return f"{action}_expected"


def window_count(action: str, days: int) -> str:
    return f"{action}_cnt_{days}d"


def window_share(action: str, days: int) -> str:
    """C(q, i) / C(q): the paper's item-query performance."""
    return f"{action}_share_{days}d"


def window_rate(action: str, days: int) -> str:
    """Smoothed actions per impression."""
    return f"{action}_rate_{days}d"


def window_debiased(action: str, days: int) -> str:
    """Actions over expected actions, what the position alone explains divided out."""
    return f"{action}_coec_{days}d"


def window_fresh_share(action: str, days: int) -> str:
    """A fresh item's share among its query's fresh items."""
    return f"{action}_fresh_share_{days}d"


def decayed(action: str, half_life_days: int) -> str:
    return f"{action}_decay_hl{half_life_days}d"


def window_users(days: int) -> str:
    return f"users_{days}d"
