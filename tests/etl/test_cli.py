import argparse
import json
from types import SimpleNamespace

import pytest

from etl.cli import add_days, add_verbs, days_of, run_forget
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.errors import UsageError
from etl.forget import Forgotten
from etl.lake import Lake
from etl.operations.config import MaintainConfig
from etl.write import Written
from scoring.main import main


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_days(parser)
    return parser.parse_args(words)


def test_one_day_or_one_inclusive_range_is_asked_for():
    assert days_of(parsed("--ds", "2024-02-29")) == DateRange("2024-02-29", "2024-02-29")
    assert days_of(parsed("--start-ds", "2024-02-28", "--end-ds", "2024-03-01")) == DateRange(
        "2024-02-28", "2024-03-01"
    )


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--start-ds", "2024-02-28"),
        ("--end-ds", "2024-02-28"),
        ("--ds", "2024-02-28", "--end-ds", "2024-02-28"),
        ("--ds", "2024-02-28", "--start-ds", "2024-02-28", "--end-ds", "2024-02-28"),
        ("--ds", "{{ ds }}"),
        ("--start-ds", "2024-02-28", "--end-ds", "2024-02-27"),
    ],
)
def test_anything_else_is_a_usage_error(words):
    with pytest.raises(UsageError):
        days_of(parsed(*words))


def test_without_days_the_default_holds_if_there_is_one():
    default = DateRange("2024-02-28", "2024-02-29")
    assert days_of(parsed(), default) == default
    assert days_of(parsed("--ds", "2024-03-01"), default) == DateRange("2024-03-01", "2024-03-01")


def test_every_verb_parses_and_knows_what_to_run():
    parser = argparse.ArgumentParser()
    add_verbs(parser.add_subparsers(dest="verb"))
    days = ["--ds", "2024-02-29"]
    lines = {
        "simulate": ["--out", "x", "--events", "10", "--seed", "1"],
        "ingest": ["--source", "csv", "--input", "x", "--append", *days],
        "interactions": days,
        "export": ["--out", "x", *days],
        "plan": days,
        "backfill": days,
        "check": ["--table", "events", *days],
        "movielens": ["--input", "x", "--protocol", "published_with_leak", "--out", "y"],
    }
    for verb, words in lines.items():
        assert parser.parse_args([verb, *words]).run.__name__ == f"run_{verb}"


def test_forget_sends_to_maintain_which_spares_what_models_and_exports_refer_to(monkeypatch):
    written = [Written("events", DateRange("2024-02-28", "2024-02-29"), 7, 12)]
    monkeypatch.setattr("etl.forget.forget_user", lambda lake, config, user: Forgotten(written, 3, []))
    context = SimpleNamespace(config=EtlConfig(maintain=MaintainConfig(vacuum_days=9)), lake=lambda: None)
    said = run_forget(argparse.Namespace(user="u1"), context)["next"][-1]
    assert said.startswith("prerank maintain --ds D, 9 days from now or later")
    assert "that a model or an export refers to (maintain.keep, --keep) stay" in said


@pytest.mark.spark
def test_candidate_sets_have_the_log_s_segments_and_what_is_left_out_is_said(spark, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("etl.session.spark_session", lambda *_: spark)
    sets = tmp_path / "sets.csv"
    sets.write_text("request_id,query,user_id,items,geo,Gender\nr,q,u,a|b,US,f\n,q,u,a,US,f\n")
    lake = str(tmp_path / "lake")
    settings = [f"lake.root={lake}", "events.columns.country=geo", "events.columns.query=term"]
    words = ["ingest", "--source", "csv", "--table", "candidates", "--input", str(sets), "--ds", "2024-02-29", "--json"]
    assert main([*words, *(word for one in settings for word in ("--set", one))]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out.strip().splitlines()[-1])
    assert {name: result[name] for name in ("in_range", "kept", "without_id")} == {
        "in_range": 2, "kept": 1, "without_id": 1,
    }  # fmt: skip
    assert "rows that are not in 'candidates': 1 without an id" in said.err.replace("\n", " ")
    [row] = Lake(spark, lake).read(c.CANDIDATES).collect()
    assert (row["items"], row.segments) == (["a", "b"], {"country": "US", "gender": "f"})
