import shlex
from typing import Any

import jinja2
import pytest

from dags import commands
from scoring.main import parse

PARAMS = {
    "source": "parquet",
    "events": "/raw/{ds}/events",
    "items": "/raw/items",
    "candidates": "/raw/it's a folder",
    "exports": "/exports",
    "models": "/models",
    "model": "interactrank",
    "days": 14,
    "label_days": 0,
    "scored_by": "champion",
    "reports": "/reports",
}


class Macros:
    @staticmethod
    def ds_add(ds: str, days: int) -> str:
        return f"{ds}{days:+d}"


#: A run of a partition has no ds, one with a logical date no partition.
PARTITION: dict[str, Any] = {"partition_key": "2026-01-12"}
BY_HAND: dict[str, Any] = {"partition_key": None, "ds": "2026-01-12"}


def rendered(template: str, run: dict[str, Any] = PARTITION, **params: Any) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["quote"] = shlex.quote
    return environment.from_string(template).render(run | {"params": PARAMS | params, "macros": Macros})


def parsed(arguments: list[str]) -> dict[str, Any]:
    return vars(parse([rendered(argument) for argument in arguments]))


@pytest.mark.parametrize("run", [PARTITION, BY_HAND])
def test_the_day_is_the_partition_or_the_logical_date(run: dict[str, Any]) -> None:
    assert rendered(commands.DAY, run) == "2026-01-12"


def test_a_run_with_neither_has_no_day() -> None:
    with pytest.raises(jinja2.UndefinedError, match="ds"):
        rendered(commands.DAY, {"partition_key": None})


@pytest.mark.parametrize(("table", "path"), [("events", "/raw/2026-01-12/events"), ("items", "/raw/items")])
def test_raw_paths_may_hold_the_day(table: str, path: str) -> None:
    args = parsed(commands.ingest(table))
    assert (args["table"], args["input"], args["ds"]) == (table, path, "2026-01-12")


def test_export_ends_at_the_day_of_the_run_and_takes_as_many_days_as_asked() -> None:
    args = parsed(commands.export())
    assert (args["start_ds"], args["end_ds"], str(args["out"])) == (
        "2026-01-12-13",
        "2026-01-12+0",
        "/exports/2026-01-12",
    )


def test_export_ends_as_many_days_earlier_as_labels_take() -> None:
    words = [rendered(argument, label_days=3) for argument in commands.export()]
    assert words == [
        "export",
        "--start-ds",
        "2026-01-12-16",
        "--end-ds",
        "2026-01-12-3",
        "--out",
        "/exports/2026-01-12",
    ]


def test_what_one_task_writes_is_what_the_next_one_reads() -> None:
    export, train, evaluate, promote = map(
        parsed, (commands.export(), commands.train(), commands.evaluate(), commands.promote())
    )
    assert export["out"] == train["data"] == evaluate["data"] == promote["data"]
    assert train["set"] == evaluate["set"] == ["train.models_root=/models/2026-01-12"]
    assert evaluate["models"] == "bm25,interactrank"
    assert str(promote["model"]) == "/models/2026-01-12/interactrank"


def test_a_model_competes_for_the_days_after_its_own_and_is_kept_for_all_of_them() -> None:
    promote = parsed(commands.promote())
    assert (promote["ds"], promote["set"]) == ("2026-01-12+1", ["train.models_root=/models"])


def test_candidates_come_from_events_only_where_asked() -> None:
    filled, invented = (parsed(commands.candidates(retrieve)) for retrieve in ("given", "events"))
    assert (filled["from_events"], invented["from_events"]) == (False, True)
    assert {filled["model"], invented["model"], parsed(commands.score())["model"]} == {"champion"}


def test_the_report_looks_for_models_where_every_day_has_its_folder() -> None:
    report = parsed(commands.report())
    assert (str(report["out"]), report["set"]) == ("/reports/2026-01-12.html", ["train.models_root=/models"])


def test_a_profile_is_set_only_where_there_is_one() -> None:
    assert parse(commands.with_profile(["report", "--out", "x"], "")).set == []
    assert parse(commands.with_profile(["report", "--out", "x"], "gpu")).set == ["spark.profile=gpu"]


@pytest.mark.parametrize("table", ["events", "items", "candidates"])
def test_the_shell_line_keeps_each_argument_one_word(table: str) -> None:
    arguments = commands.ingest(table)
    words = shlex.split(rendered(commands.shell_line(arguments)))
    assert words == ["exec", "prerank", *map(rendered, arguments)]
