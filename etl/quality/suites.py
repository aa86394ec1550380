"""What each table promises, as bounds on the columns of its profile (one row per ds, or per split of an export)."""

from dataclasses import dataclass

from etl.config import EtlConfig
from etl.contract import columns as c

EXPORT = "export"


@dataclass(frozen=True)
class Bound:
    """``low`` <= column <= ``high`` on every row of the profile; ``why`` is what a failure means."""

    column: str
    low: float | None
    high: float | None
    why: str


def _none(column: str, why: str) -> Bound:
    return Bound(column, 0, 0, why)


def suite(table: str, config: EtlConfig) -> tuple[Bound, ...]:
    """The promises of a table; a table without any of its own promises rows."""
    suites = {
        c.EVENTS: (
            _none("missing_keys", "events without request_id, user_id, query_key, item_id, action or ts"),
            _none("repeated_ids", "event_ids that stand more than once"),
            _none("unknown_actions", "actions outside events.actions"),
            _none("outside_day", "events whose ts is not of their ds"),
            Bound(
                "reject_share",
                0,
                config.events.max_reject_share,
                f"share of refused rows above {config.events.max_reject_share:g}, events.max_reject_share",
            ),
        ),
        c.INTERACTIONS: (
            Bound("rows", 1, None, "a day without interactions"),
            _none("repeated_keys", "pairs and segments that stand more than once"),
            _none("bad_shares", "shares outside [0, 1]"),
            _none("negative_values", "negative or missing counts, decays or rates"),
            _none("unnested_windows", "a longer window that counts less than a shorter one"),
            _none("thin_rows", "rows with fewer users than interactions.min_users"),
        ),
        EXPORT: (
            Bound("rows", 1, None, "a split without rows"),
            _none("lost_rows", "training rows lost or doubled by a join"),
            _none("repeated_rows", "a request that holds an item twice"),
            _none("bad_labels", "labels other than 0 and 1"),
            _none("bad_cross", "cross features that are missing or not finite"),
            _none("future_history", "rows that see history not before their request"),
            _none("bad_histories", "history entries of an item or action that the export does not hold"),
        ),
    }
    return suites.get(table, (Bound("rows", 1, None, "a day without rows"),))
