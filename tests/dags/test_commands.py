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
}


class Macros:
    @staticmethod
    def ds_add(ds: str, days: int) -> str:
        return f"{ds}{days:+d}"


def rendered(template: str) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["quote"] = shlex.quote
    context: dict[str, Any] = {"ds": "2026-01-12", "params": PARAMS, "macros": Macros}
    return environment.from_string(template).render(context)


def parsed(arguments: list[str]) -> dict[str, Any]:
    return vars(parse([rendered(argument) for argument in arguments]))


def test_raw_paths_may_hold_the_day() -> None:
    args = parsed(commands.ingest("events"))
    assert (args["table"], args["input"], args["ds"]) == ("events", "/raw/2026-01-12/events", "2026-01-12")


def test_export_ends_at_the_day_of_the_run_and_takes_as_many_days_as_asked() -> None:
    args = parsed(commands.export())
    assert (args["start_ds"], args["end_ds"], str(args["out"])) == (
        "2026-01-12-13",
        "2026-01-12",
        "/exports/2026-01-12",
    )


def test_what_one_task_writes_is_what_the_next_one_reads() -> None:
    export, train, evaluate, score = map(
        parsed, (commands.export(), commands.train(), commands.evaluate(), commands.score())
    )
    assert export["out"] == train["data"] == evaluate["data"]
    assert train["set"] == evaluate["set"] == ["train.models_root=/models/2026-01-12"]
    assert evaluate["models"] == "bm25,interactrank"
    assert str(score["model"]) == "/models/2026-01-12/interactrank"


@pytest.mark.parametrize("table", ["events", "items", "candidates"])
def test_the_shell_line_keeps_each_argument_one_word(table: str) -> None:
    arguments = commands.ingest(table)
    words = shlex.split(rendered(commands.shell_line(arguments)))
    assert words == ["exec", "prerank", *map(rendered, arguments)]
