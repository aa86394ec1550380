"""Definition hashes: they change exactly when a table's values could.

A table's hash covers the settings that its values depend on and a number for the code; raise the number when the code
computes something else.
"""

from collections.abc import Callable

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.settings import digest
from etl.tiles import TILE_DAYS, table_of


def _events(config: EtlConfig) -> object:
    events = config.events
    rules = [events.columns, sorted(events.actions), sorted(events.segments)]
    return [1, rules, events.max_query_chars, events.max_events_per_user_day]


def _daily(config: EtlConfig) -> object:
    return [3, sorted(config.events.actions), sorted(config.events.segments), "coec" in config.interactions.families]


def _tiles(config: EtlConfig) -> object:
    return [2, _daily(config), sorted(config.interactions.half_lives_days), config.interactions.counts_users]


def _interactions(config: EtlConfig) -> object:
    settings = config.interactions
    windows = [sorted(settings.windows_days), sorted(settings.half_lives_days), sorted(settings.families)]
    # The first half-life and the ranking head's actions choose the top items.
    ranking = [settings.half_lives_days[0], sorted(config.engagement_actions), settings.top_items_per_query]
    fresh = settings.fresh_days if "fresh" in settings.families else None
    return [4, _tiles(config), windows, ranking, settings.min_users, settings.rate_prior_impressions, fresh]


_DEFINITIONS: dict[str, Callable[[EtlConfig], object]] = {
    c.EVENTS: _events,
    c.INTERACTIONS_DAILY: _daily,
    c.QUERIES_DAILY: _daily,
    table_of(1): _daily,
    **{table_of(length): _tiles for length in TILE_DAYS[1:]},
    c.INTERACTIONS: _interactions,
}


def definition_hash(table: str, config: EtlConfig) -> str:
    """Empty for tables that are defined by their input alone."""
    define = _DEFINITIONS.get(table)
    return digest(define(config)) if define else ""
