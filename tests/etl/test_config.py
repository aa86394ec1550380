import dataclasses

import pytest

from etl.config import EtlConfig, EventsConfig, ExportConfig, HeadConfig, InteractionsConfig
from etl.contract.errors import UnknownNameError, UsageError
from etl.contract.settings import load


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (EventsConfig, {"actions": ("Click",)}, "lower-case"),
        (EventsConfig, {"actions": ("click", "click")}, "repeat"),
        (EventsConfig, {"actions": ("click\n",)}, "lower-case"),
        (EventsConfig, {"segments": ("all",)}, "every event has already"),
        (EventsConfig, {"segments": ("two words",)}, "lower-case"),
        (EventsConfig, {"max_query_chars": 0}, "at least 1"),
        (EventsConfig, {"max_events_per_user_day": 0}, "at least 1"),
        (InteractionsConfig, {"windows_days": ()}, "windows_days"),
        (InteractionsConfig, {"windows_days": (7, 7)}, "distinct"),
        (InteractionsConfig, {"windows_days": (0, 7)}, "distinct whole days"),
        (InteractionsConfig, {"half_lives_days": ()}, "half-life"),
        (InteractionsConfig, {"half_lives_days": (0,)}, "half-life"),
        (InteractionsConfig, {"min_users": -1}, "0 or more"),
        (InteractionsConfig, {"lag_days": -1}, "0 or more"),
        (InteractionsConfig, {"days_per_job": 0}, "1 or more"),
        (InteractionsConfig, {"rate_prior_impressions": 0.0}, "above 0"),
        (HeadConfig, {"name": "x", "actions": ()}, "at least one action"),
        (HeadConfig, {"name": "x", "actions": ("click",), "weight": 0.0}, "weight above 0"),
        (HeadConfig, {"name": "x", "actions": ("click",), "veto": ("click",)}, "click in actions and in veto"),
        (HeadConfig, {"name": "X", "actions": ("click",)}, "lower-case"),
        (InteractionsConfig, {"families": ("counts",)}, "needs some of cnt"),
        (InteractionsConfig, {"families": ("rate",)}, "rate needs cnt"),
        (EtlConfig, {"interactions": InteractionsConfig(families=("cnt",))}, "which interactions.families leaves out"),
        (ExportConfig, {"cross_families": ("shares",)}, "known are cnt"),
        (ExportConfig, {"history_length": 0}, "1 or more"),
        (ExportConfig, {"test_days": -1}, "0 or more"),
        (ExportConfig, {"label_window_days": -1}, "0 or more"),
        (ExportConfig, {"row_weights": {"click": 0.0}}, "above 0, click has 0.0"),
        (ExportConfig, {"row_weights": {"click": float("inf")}}, "above 0, click has inf"),
        (ExportConfig, {"negative_weight": float("nan")}, "above 0, negative_weight has nan"),
        (ExportConfig, {"impression_sampling_rate": 0.0}, r"\(0, 1\]"),
        (ExportConfig, {"impression_sampling_rate": 1.01}, r"\(0, 1\]"),
        (ExportConfig, {"impression_sampling_rate": float("nan")}, r"\(0, 1\]"),
        (ExportConfig, {"sampling_seed": 2**63}, "64 bits"),
        (ExportConfig, {"negatives": "random"}, "known are impressions, candidates, catalogue"),
        (ExportConfig, {"negatives": "catalogue"}, "needs negatives_per_request"),
        (ExportConfig, {"negatives_per_request": 3}, "needs negatives_per_request"),
        (ExportConfig, {"max_psi": -0.1}, "max_psi must be 0 or more"),
        (EtlConfig, {"heads": ()}, "at least one entry"),
        (EtlConfig, {"heads": (HeadConfig("x", ("hover",)),)}, "hover, not in events.actions"),
        (EtlConfig, {"heads": (HeadConfig("x", ("click",), veto=("hover",)),)}, "'x' uses hover, not in"),
        (EtlConfig, {"export": ExportConfig(row_weights={"hover": 1.0})}, "row_weights uses hover, not in"),
    ],
)
def test_a_configuration_that_cannot_work_says_why(section, values, message):
    with pytest.raises(ValueError, match=message):
        section(**values)


def test_defaults_are_those_of_the_documentation():
    config = EtlConfig()
    assert config.events.actions == ("impression", "click", "long_click", "save", "purchase")
    assert (config.events.max_query_chars, config.events.max_events_per_user_day) == (512, 5000)
    assert (config.interactions.windows_days, config.interactions.half_lives_days) == ((7, 30, 90), (14,))
    assert (config.interactions.min_users, config.interactions.top_items_per_query) == (1, 1000)
    assert config.heads == (HeadConfig("engagement", ("click", "long_click", "save", "purchase"), 20.0),)


def test_the_first_head_says_what_engagement_is():
    heads = (HeadConfig("purchase", ("purchase",)), HeadConfig("any", ("click", "purchase")))
    assert dataclasses.replace(EtlConfig(), heads=heads).engagement_actions == ("purchase",)


def test_the_longest_window_need_not_be_the_last():
    assert InteractionsConfig(windows_days=(30, 7)).longest_days == 30


def test_sections_are_read_from_yaml(tmp_path):
    file = tmp_path / "prerank.yaml"
    file.write_text(
        "events: {segments: [], columns: {query: search_term}}\nheads:\n- {name: buy, actions: [purchase]}\n"
    )
    config = load(EtlConfig, file, {}, ()).config
    assert config.events.segments == ()
    assert config.events.columns == {"query": "search_term"}
    assert config.heads == (HeadConfig("buy", ("purchase",), 1.0),)


def test_the_order_of_row_weights_is_that_of_the_file_and_later_layers_join_at_the_end(tmp_path):
    file = tmp_path / "prerank.yaml"
    file.write_text(
        "export: {row_weights: {save: 7, long_click: 20.5, click: 1}}\n"
        "heads:\n- {name: lasting, actions: [long_click], veto: [click, save]}\n"
    )
    assert list(load(EtlConfig, file, {}, ()).config.export.row_weights.items()) == [
        ("save", 7.0), ("long_click", 20.5), ("click", 1.0),
    ]  # fmt: skip
    sets = ("export.row_weights.save=2", "export.row_weights.impression=5")
    config = load(EtlConfig, file, {}, sets).config
    assert list(config.export.row_weights.items()) == [
        ("save", 2.0), ("long_click", 20.5), ("click", 1.0), ("impression", 5.0),
    ]  # fmt: skip
    assert config.heads[0].veto == ("click", "save")


def test_a_misspelt_key_and_an_impossible_value_are_usage_errors():
    with pytest.raises(UnknownNameError, match="did you mean 'windows_days'"):
        load(EtlConfig, None, {"PRERANK__INTERACTIONS__WINDOW_DAYS": "[7]"}, ())
    with pytest.raises(UsageError, match=r"'interactions': windows_days"):
        load(EtlConfig, None, {}, ("interactions.windows_days=[7, 7]",))
