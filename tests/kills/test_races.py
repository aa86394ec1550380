"""Jobs of overlapping days, started at the same time: no day is lost or doubled, and ``runs`` tells what happened."""

from pathlib import Path

import pytest

from tests.kills.conftest import World
from tests.kills.reader import Watcher, false_claims, read_lake, records
from tests.kills.verbs import DS, LAST, Verb, copied, launch, said

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.spark]

EARLY = Verb("earlier days", f"backfill --start-ds 2026-01-04 --end-ds {LAST}")
LATE = Verb("later days", f"backfill --start-ds 2026-01-05 --end-ds {DS}")
DAILY = Verb("the day's own", f"interactions --ds {DS}")
WHOLE = Verb("all days", f"backfill --start-ds 2026-01-04 --end-ds {DS}")


@pytest.mark.parametrize(
    ("one", "other"), [(EARLY, LATE), (WHOLE, DAILY)], ids=["two backfills", "beside the daily run"]
)
def test_jobs_of_overlapping_days_leave_each_day_once(world: World, tmp_path: Path, one: Verb, other: Verb):
    stage = world.stage("backfill")
    folder = copied(stage.folder, tmp_path / "folder")
    with Watcher(folder / "lake", stage.before, stage.after) as reader:
        both = [launch(verb, folder) for verb in (one, other)]
        for process in both:
            assert process.wait(timeout=400) == 0, said(folder)
        reader.look()
    assert reader.problems == []
    assert read_lake(folder / "lake") == stage.after
    assert false_claims(folder / "lake") == []
    known, runs = (
        {record["run_id"] for record in records(root / "lake") if record["table"] == "interactions"}
        for root in (stage.folder, folder)
    )
    assert len(runs - known) == 2, "each job wrote days of its own"
    # Windows that the one built before the other wrote the same partials again are stale, though no value has changed.
    again = launch(WHOLE, folder)
    assert again.wait(timeout=400) == 0, said(folder)
    assert read_lake(folder / "lake") == stage.after
    plan = launch(Verb("plan", f"plan --start-ds 2026-01-04 --end-ds {DS} --json"), folder)
    assert plan.wait(timeout=200) == 0, said(folder)
    assert '"state": "stale"' not in said(folder).splitlines()[-1]
