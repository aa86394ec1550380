from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest

from etl.simulate.blocks import Plan, events_of
from etl.simulate.config import SimulateConfig
from etl.simulate.noise import BROKEN, KINDS, LATE
from tests.etl.simulate.worlds import events, plan, spec

NOISY = SimulateConfig(duplicate_rate=0.05, malformed_rate=0.05, late_rate=0.1)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    return events(plan(knobs=NOISY)).to_pylist()


def of_kind(rows: list[dict[str, object]], kind: str) -> list[dict[str, object]]:
    return [row for row in rows if KINDS[row["kind"]] == kind]


def raw(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(value for name, value in row.items() if name not in ("kind", "outside"))


def test_duplicates_are_exact_copies_of_good_rows(rows: list[dict[str, object]]) -> None:
    good = {raw(row) for row in of_kind(rows, "valid") + of_kind(rows, "late")}
    duplicates = of_kind(rows, "duplicate")
    assert 0.04 < len(duplicates) / len(good) < 0.06
    assert {raw(row) for row in duplicates} <= good


def test_event_ids_are_unique_but_for_duplicates(rows: list[dict[str, object]]) -> None:
    ids = Counter(row["event_id"] for row in rows if KINDS[row["kind"]] != "duplicate")
    assert max(ids.values()) == 1


@pytest.mark.parametrize(
    ("kind", "is_broken"),
    [
        ("missing_key", lambda row: not all(row[key] for key in ("request_id", "user_id", "item_id", "query"))),
        ("bad_timestamp", lambda row: not str(row["ts"]).startswith("2026-0")),
        ("unknown_action", lambda row: row["action"] not in ("impression", "click", "long_click", "save", "purchase")),
        ("query_too_long", lambda row: len(str(row["query"])) > 512),
    ],
)
def test_a_broken_row_has_its_defect_and_no_other_row_has_it(
    rows: list[dict[str, object]], kind: str, is_broken: Callable[[dict[str, object]], bool]
) -> None:
    assert of_kind(rows, kind)
    for row in rows:
        assert is_broken(row) == (KINDS[row["kind"]] == kind)


def test_missing_keys_come_empty_and_null_in_every_key(rows: list[dict[str, object]]) -> None:
    forms = {
        (key, row[key])
        for row in of_kind(rows, "missing_key")
        for key in ("request_id", "user_id", "item_id", "query")
        if not row[key]
    }
    assert len(forms) == 8


def test_late_rows_are_actions_and_as_many_as_configured(rows: list[dict[str, object]]) -> None:
    late = of_kind(rows, "late")
    actions = [row for row in of_kind(rows, "valid") + late if row["action"] != "impression"]
    assert all(row["action"] != "impression" for row in late)
    assert 0.07 < len(late) / len(actions) < 0.13


def test_the_good_rows_do_not_depend_on_the_noise() -> None:
    quiet = SimulateConfig(duplicate_rate=0, malformed_rate=0)
    first, second = (
        [raw(row) for row in events_of(Plan(spec(knobs=knobs), 900, 0), 0).to_pylist() if row["kind"] <= LATE]
        for knobs in (quiet, SimulateConfig(duplicate_rate=0.2, malformed_rate=0.2))
    )
    assert first == second


def test_without_noise_every_row_is_valid() -> None:
    table = events(plan(rows=200_000, knobs=SimulateConfig().without("noise")))
    assert set(table["kind"].to_pylist()) == {0}


def test_a_bot_makes_more_rows_on_a_day_than_any_person_may() -> None:
    big = plan(rows=200_000)
    assert big.bot_days == 1
    bot = events_of(big, big.request_blocks)
    assert bot.num_rows == 6000
    assert set(bot["kind"].to_pylist()) == {KINDS.index("bot")}
    assert len(set(bot["user_id"].to_pylist())) == 1
    assert len({ts[:10] for ts in bot["ts"].to_pylist()}) == 1
    assert len(set(bot["event_id"].to_pylist())) == 6000


def test_persons_stay_far_below_a_bot() -> None:
    big = plan(rows=200_000)
    people = pa.Table.from_batches([events_of(big, block) for block in range(big.request_blocks)])
    per_day = Counter(
        zip(people["user_id"].to_pylist(), (str(ts)[:10] for ts in people["ts"].to_pylist()), strict=True)
    )
    per_day.pop((None, ""), None)
    assert max(per_day.values()) < 2500


def test_small_logs_have_no_bots() -> None:
    assert plan(rows=100_000).bot_days == 0


def test_every_defect_is_a_kind() -> None:
    assert [KINDS[code] for code in BROKEN] == ["missing_key", "bad_timestamp", "unknown_action", "query_too_long"]
