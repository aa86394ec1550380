"""Great Expectations over a profile: a failed promise stops the run, and Data Docs say which."""

import importlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pandas as pd

from etl.config import EtlConfig
from etl.contract.paths import is_uri
from etl.errors import GateError
from etl.quality.profiles import Profile
from etl.quality.suites import Bound, suite

if TYPE_CHECKING:
    from great_expectations.data_context import FileDataContext

_SHOWN_DAYS = 5


def load_ahead() -> None:
    """Begin to import Great Expectations, which takes seconds: for a program that starts Spark meanwhile."""
    Thread(target=importlib.import_module, args=("great_expectations",), name="gate", daemon=True).start()


def docs_root(config: EtlConfig) -> Path:
    """Where suites, results and Data Docs are kept: in the lake, or in the working folder when the lake is a URI."""
    root = config.lake.root
    return Path("./prerank_quality") if is_uri(root) else Path(root).expanduser() / "_quality"


def gate(table: str, rows: Profile, config: EtlConfig) -> list[dict[str, object]]:
    """Judge a profile; returns one entry per promise, raises GateError naming each broken one with its days."""
    bounds = suite(table, config)
    docs = docs_root(config)
    outcomes = _judge(docs.absolute(), table, rows, bounds)
    failures = [_describe(bound, rows) for bound, kept in zip(bounds, outcomes, strict=True) if not kept]
    if failures:
        raise GateError(table, failures, str(docs / "gx/uncommitted/data_docs/local_site/index.html"))
    return [{"column": bound.column, "forbids": bound.why, "kept": True} for bound in bounds]


def _judge(docs: Path, table: str, rows: Profile, bounds: tuple[Bound, ...]) -> list[bool]:
    import great_expectations as gx
    from great_expectations import expectations as gxe

    context = _context(docs)
    expectations = [
        gxe.ExpectColumnValuesToBeBetween(
            column=bound.column, min_value=bound.low, max_value=bound.high, notes=f"Fails on {bound.why}."
        )
        for bound in bounds
    ]
    suite_ = context.suites.add_or_update(gx.ExpectationSuite(name=table, expectations=expectations))
    source = context.data_sources.add_or_update_pandas("profiles")
    batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("days")
    definition = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=table, data=batch, suite=suite_)
    )
    checkpoint = context.checkpoints.add_or_update(
        gx.Checkpoint(
            name=table,
            validation_definitions=[definition],
            actions=[gx.checkpoint.UpdateDataDocsAction(name="docs")],
        )
    )
    columns = ["ds", *dict.fromkeys(bound.column for bound in bounds)]
    frame = pd.DataFrame(rows, columns=columns)
    [result] = checkpoint.run(batch_parameters={"dataframe": frame}).run_results.values()
    # A suite keeps its own order of expectations: match by column.
    success = {entry.expectation_config.kwargs["column"]: bool(entry.success) for entry in result.results}
    return [success[bound.column] for bound in bounds]


@lru_cache(maxsize=4)
def _context(docs: Path) -> "FileDataContext":
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    docs.mkdir(parents=True, exist_ok=True)
    context = gx.get_context(mode="file", project_root_dir=str(docs))
    context.variables.progress_bars = {"globally": False}
    return context


def _describe(bound: Bound, rows: Profile) -> str:
    broken = [row for row in rows if not _holds(bound, row.get(bound.column))]
    days = ", ".join(f"{row['ds']}: {_figure(bound, row)}" for row in broken[:_SHOWN_DAYS])
    more = f" and {len(broken) - _SHOWN_DAYS} more" if len(broken) > _SHOWN_DAYS else ""
    return f"{bound.why} ({days}{more})"


def _figure(bound: Bound, row: Mapping[str, object]) -> str:
    """The figure, with what the profile says it is made up of."""
    value, words = row.get(bound.column), row.get(f"{bound.column}_words")
    text = str(round(value, 4) if isinstance(value, float) else value)
    return f"{text}, of that {words}" if words else text


def _holds(bound: Bound, value: object) -> bool:
    if value is None:
        return True
    number = float(str(value))
    return (bound.low is None or number >= bound.low) and (bound.high is None or number <= bound.high)
