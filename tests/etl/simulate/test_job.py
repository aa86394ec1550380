from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from etl.contract.errors import UsageError
from etl.simulate.blocks import EVENTS_DDL, events_of, plan_log
from etl.simulate.config import SimulateConfig
from etl.simulate.job import SimulateReport, blocks_frame, simulate
from tests.etl.simulate.worlds import DATES, spec

pytestmark = pytest.mark.spark
ROWS = 20_000


@pytest.fixture(scope="module")
def report(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> SimulateReport:
    return simulate(spark, str(tmp_path_factory.mktemp("simulated")), ROWS, 7, DATES, SimulateConfig())


def read(spark: Any, report: SimulateReport, name: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in spark.read.parquet(f"{report.out}/{name}").collect()]


def test_rows_do_not_depend_on_the_partitions(spark: Any, report: SimulateReport) -> None:
    plan = plan_log(spec(ROWS))
    frames = [
        blocks_frame(spark, plan, plan.event_blocks, events_of, EVENTS_DDL, partitions).drop("kind", "outside")
        for partitions in (1, 2)
    ]
    one, two = (Counter(tuple(row) for row in frame.collect()) for frame in frames)
    assert one == two == Counter(read(spark, report, "events"))


def test_the_report_counts_what_was_written(spark: Any, report: SimulateReport) -> None:
    assert report.rows == pytest.approx(ROWS, rel=0.03)
    assert len(read(spark, report, "events")) == report.rows == sum(report.noise.values())
    assert len(read(spark, report, "items")) == report.items
    assert len(read(spark, report, "candidates")) == report.candidate_requests
    assert dict(read(spark, report, "truth/noise")) == report.noise


def expected_kind(row: Any, seen: set[str]) -> str:
    """What ingest should make of a raw row, in plain Python."""
    if not (row.request_id and row.user_id and row.item_id and row.query):
        return "missing_key"
    if not row.ts.startswith("20") or row.ts[5:7] > "12":
        return "bad_timestamp"
    if row.action not in ("impression", "click", "long_click", "save", "purchase"):
        return "unknown_action"
    if len(row.query) > 512:
        return "query_too_long"
    if row.ts[:10] > DATES.end:
        return "outside_range"
    if row.event_id in seen:
        return "duplicate"
    seen.add(row.event_id)
    return "kept"


def test_the_noise_table_is_what_a_plain_reading_of_the_log_finds(spark: Any, report: SimulateReport) -> None:
    seen: set[str] = set()
    found = Counter(expected_kind(row, seen) for row in spark.read.parquet(f"{report.out}/events").collect())
    expected = Counter(report.noise)
    expected["kept"] = expected.pop("valid") + expected.pop("late")
    assert found == +expected


def test_a_second_run_replaces_the_first_by_the_same(spark: Any, report: SimulateReport) -> None:
    names = ("events", "items", "candidates", "truth/impressions", "truth/candidates", "truth/noise")
    before = {name: sorted(map(repr, read(spark, report, name))) for name in names}
    assert simulate(spark, report.out, ROWS, 7, DATES, SimulateConfig()) == report
    assert {name: sorted(map(repr, read(spark, report, name))) for name in names} == before


def test_a_log_of_no_rows_is_a_usage_error(spark: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--events 0"):
        simulate(spark, str(tmp_path), 0, 7, DATES, SimulateConfig())


@pytest.mark.parametrize(
    ("held", "said"),
    [("candidates/_delta_log/0.json", "'candidates' is a Delta table"), ("truth/notes.txt", "'truth' holds files")],
)
def test_a_folder_with_files_of_others_is_left_as_it_is(spark: Any, tmp_path: Path, held: str, said: str) -> None:
    (tmp_path / held).parent.mkdir(parents=True)
    (tmp_path / held).write_text("precious")
    with pytest.raises(UsageError, match=said):
        simulate(spark, str(tmp_path), 1, 7, DATES, SimulateConfig())
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [Path(held).name]


def test_a_table_in_a_simulated_folder_is_none_of_its_own(spark: Any, tmp_path: Path) -> None:
    (tmp_path / ".prerank-simulated").touch()
    (tmp_path / "events" / "_delta_log").mkdir(parents=True)
    with pytest.raises(UsageError, match="'events' is a Delta table"):
        simulate(spark, str(tmp_path), 1, 7, DATES, SimulateConfig())


def test_a_run_that_was_killed_is_run_again(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        (tmp_path / "events" / "_temporary").mkdir(parents=True)
        (tmp_path / "events" / "_temporary" / "part-0.parquet").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("etl.simulate.job._write_events", killed)
    with pytest.raises(KeyboardInterrupt):
        simulate(spark, str(tmp_path), 300, 7, DATES, SimulateConfig())
    monkeypatch.undo()
    report = simulate(spark, str(tmp_path), 300, 7, DATES, SimulateConfig())
    assert spark.read.parquet(f"{tmp_path}/events").count() == report.rows
