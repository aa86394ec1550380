"""Tables as Airflow's assets. The partition of an event is the day, ``yyyy-mm-dd``, so that a DAG runs for that day."""

from collections.abc import Callable
from typing import Any

from airflow.sdk import Asset

EVENTS = Asset("prerank_events")
ITEMS = Asset("prerank_items")
CANDIDATES = Asset("prerank_candidates")
INTERACTIONS = Asset("prerank_interactions")
MODELS = Asset("prerank_models")
SCORES = Asset("prerank_scores")


def landed(asset: Asset) -> Callable[..., None]:
    """A ``post_execute`` hook: the run's day of ``asset`` is there.

    Without it, a run that was started with a logical date and no partition key would tell no partition.
    """

    def tell(context: Any, _result: Any = None) -> None:
        context["outlet_events"][asset].add_partitions(context.get("partition_key") or context["ds"])

    return tell
