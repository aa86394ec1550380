"""A definition hash changes exactly when the values of its table could."""

import dataclasses

import pytest

from etl.config import EtlConfig, ExportConfig, HeadConfig
from etl.contract import columns as c
from etl.definitions import definition_hash
from etl.plan import TILES

TABLES = (c.EVENTS, c.INTERACTIONS_DAILY, c.QUERIES_DAILY, *TILES, c.INTERACTIONS, c.ITEMS)
DAILY = {c.INTERACTIONS_DAILY, c.QUERIES_DAILY}
DERIVED = DAILY | {c.INTERACTIONS, *TILES}
BUY = HeadConfig("buy", ("purchase",))


def changed(section: str, **values) -> set[str]:
    base = EtlConfig()
    other = dataclasses.replace(base, **{section: dataclasses.replace(getattr(base, section), **values)})
    return {table for table in TABLES if definition_hash(table, base) != definition_hash(table, other)}


@pytest.mark.parametrize(
    ("section", "values", "tables"),
    [
        (
            "events",
            {"actions": ("impression", "click", "long_click", "save", "purchase", "hide")},
            {c.EVENTS} | DERIVED,
        ),
        ("events", {"segments": ("country",)}, {c.EVENTS} | DERIVED),
        ("events", {"actions": ("save", "purchase", "impression", "long_click", "click")}, set()),
        ("events", {"segments": ("gender", "country")}, set()),
        ("events", {"columns": {"query": "term"}}, {c.EVENTS}),
        ("events", {"max_query_chars": 100}, {c.EVENTS}),
        ("events", {"max_events_per_user_day": 100}, {c.EVENTS}),
        ("events", {"max_reject_share": 0.1}, set()),
        ("interactions", {"windows_days": (7, 30)}, {c.INTERACTIONS}),
        ("interactions", {"windows_days": (90, 7, 30)}, set()),
        ("interactions", {"half_lives_days": (14, 30)}, {c.INTERACTIONS, *TILES}),
        ("interactions", {"families": ("users", "cnt", "share", "rate", "decay")}, set()),
        ("interactions", {"min_users": 2}, {c.INTERACTIONS}),
        ("interactions", {"top_items_per_query": 10}, {c.INTERACTIONS}),
        ("interactions", {"rate_prior_impressions": 1.0}, {c.INTERACTIONS}),
        ("interactions", {"lag_days": 3}, set()),
        ("interactions", {"days_per_job": 1}, set()),
        ("lake", {"root": "elsewhere"}, set()),
        ("export", {"history_length": 5}, set()),
        ("spark", {"profile": "cpu"}, set()),
    ],
)
def test_settings_change_the_tables_that_depend_on_them(section, values, tables):
    assert changed(section, **values) == tables


def test_the_first_half_life_ranks_so_its_place_counts():
    def hashed(*half_lives: int) -> str:
        base = EtlConfig()
        settings = dataclasses.replace(base.interactions, half_lives_days=half_lives)
        return definition_hash(c.INTERACTIONS, dataclasses.replace(base, interactions=settings))

    assert hashed(14, 30) != hashed(30, 14)


def test_families_change_the_windows_and_sketches_the_tiles_that_hold_them():
    base = EtlConfig(export=ExportConfig(cross_families=("cnt",)))
    for families, changed in {("cnt", "users"): {c.INTERACTIONS}, ("cnt",): {c.INTERACTIONS, *TILES}}.items():
        fewer = dataclasses.replace(base, interactions=dataclasses.replace(base.interactions, families=families))
        assert {t for t in TABLES if definition_hash(t, base) != definition_hash(t, fewer)} == changed


def test_only_the_ranking_heads_actions_count():
    base = EtlConfig()
    more = dataclasses.replace(base, heads=(*base.heads, BUY))
    other = dataclasses.replace(base, heads=(BUY, *base.heads))
    assert definition_hash(c.INTERACTIONS, base) == definition_hash(c.INTERACTIONS, more)
    assert definition_hash(c.INTERACTIONS, base) != definition_hash(c.INTERACTIONS, other)


def test_tables_that_are_their_input_have_no_definition():
    assert definition_hash(c.ITEMS, EtlConfig()) == ""
