import json
from dataclasses import replace
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest

from etl.contract.errors import UsageError
from models.ablate import Bench, ablate, climb, read_measured, write_measured
from models.ablation import METRICS, SPLITS, Measured, RungResult, summary
from models.config import TrainConfig
from models.cross_view import CrossView
from models.dataset import Export
from models.errors import ExportError
from models.ladder import Step, Variant, bottom, chosen, steps
from models.scorers import no_track
from models.table import rung_difference_rows, rung_rows
from models.telemetry import no_log
from models.train import train
from tests.models.export_fixture import World, write_export

SEEDS = (17, 18)


def measured(quality: float, values: list[float] | None = None) -> Measured:
    per_request = np.array(values or [quality, quality])
    return Measured({split: dict.fromkeys(METRICS, per_request) for split in SPLITS}, quality, 1, 0.1)


class Given(Bench):
    """Says what was given by name, and keeps what it was asked for."""

    def __init__(self, export: Export, qualities: dict[str, float]):
        self.export, self.qualities, self.asked = export, qualities, {}

    def rung(self, name, before, setup, seeds):
        self.asked[name] = setup
        return RungResult(name, before, False, {}, [measured(self.qualities[name])])


def climbed(export: Export, two: Step, **qualities: float) -> tuple[list[RungResult], Given]:
    found = Given(export, {"two_tower": 0.3, **qualities})
    last = Step("last", (Variant("top", train={"dim": 8}),))
    return climb(bottom(TrainConfig()), [two, last], SEEDS, found, no_log), found


def test_the_best_variant_of_a_step_is_carried_on_even_where_it_does_not_help(export: Export):
    step = Step("pair", (Variant("a", train={"dropout": 0.0}), Variant("b", train={"dropout": 0.5})))
    rungs, found = climbed(export, step, a=0.1, b=0.2, top=0.1)
    assert [(rung.name, rung.before, rung.carried_on) for rung in rungs] == [
        ("two_tower", None, True), ("a", "two_tower", False), ("b", "two_tower", True), ("top", "b", True),
    ]  # fmt: skip
    assert (found.asked["top"].config.dropout, found.asked["top"].config.dim) == (0.5, 8)


@pytest.mark.parametrize(("quality", "kept"), [(0.2, False), (0.4, True)])
def test_an_optional_step_is_carried_on_only_where_validation_is_better_with_it(export, quality, kept):
    step = Step("maybe", (Variant("a", train={"dropout": 0.5}),), optional=True)
    rungs, found = climbed(export, step, a=quality, top=0.5)
    assert [rung.carried_on for rung in rungs] == [True, kept, True]
    assert rungs[-1].before == ("a" if kept else "two_tower")
    assert (found.asked["top"].config.dropout == 0.5) == kept


def test_means_are_over_seeds_and_differences_pair_the_requests():
    low = RungResult("low", None, True, {}, [measured(0.1, [0.0, 1.0, np.nan]), measured(0.2, [0.0, 0.0, np.nan])])
    high = RungResult("high", "low", True, {}, [measured(0.3, [0.5, 1.0, np.nan]), measured(0.4, [0.5, 1.0, np.nan])])
    oracle = measured(1.0, [1.0, 1.0, np.nan]).values
    result = summary([low, high], {"oracle": oracle}, seed=3)
    first, second = (rung["test"] for rung in result["rungs"])
    assert (first["auc"], second["auc"]) == (0.25, 0.75)
    assert first["auc_seeds"] == [0.5, 0.0]
    assert first["auc_std"] == pytest.approx(stdev([0.5, 0.0]))
    # Both requests gain as much, so however they are drawn, the difference is the same.
    assert result["rungs"][1]["difference"]["test"]["auc_ci"] == [0.5, 0.5]
    assert result["rungs"][0]["difference"]["test"] is None
    assert result["requests"] == {"validation": 2, "test": 2}
    total = result["total"]["test"]
    assert (total["hits@3"], total["relative"], total["gap_closed"]) == (0.5, 2.0, pytest.approx(2 / 3))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return Export(write_export(tmp_path_factory.mktemp("ladder") / "data", World(requests=(60, 30, 30))))


def run(small: Export, config: TrainConfig, kept: Path, **changes):
    lines: list[str] = []
    wanted = chosen(steps(config, small.manifest), "shares,sequence")
    found = ablate(replace(config, epochs=1), small, wanted, 2, kept, log=lines.append, **changes)
    return found, [line for line in lines if "measured before" in line]


def test_a_ladder_that_was_stopped_goes_on_and_ends_alike(small: Export, config: TrainConfig, tmp_path: Path):
    whole, before = run(small, config, tmp_path)
    assert not before
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    assert [rung["setup"]["cross_features"] for rung in whole["rungs"]] == [0, 1, 1, 1, 1, 1]
    files = sorted(tmp_path.glob("*.npz"))
    assert len(files) == 2 * len(whole["rungs"])
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    again, before = run(small, config, tmp_path)
    assert len(before) == len(files) - 2
    assert [rung["test"] for rung in again["rungs"]] == [rung["test"] for rung in whole["rungs"]]
    assert len(run(small, replace(config, dropout=0.5), tmp_path)[1]) == 0
    assert len(run(small, config, tmp_path, fresh=True)[1]) == 0


def test_a_rung_is_what_train_makes_of_its_setup(small: Export, config: TrainConfig, tmp_path: Path):
    config = replace(config, epochs=1)
    setup = steps(config, small.manifest)[0].variants[0].on(bottom(config))
    found = Bench(small, tmp_path, no_track, no_log, False).rung("+ shares", "two_tower", setup, [config.seed])
    alone = train(setup.config, CrossView(small, setup.cross), "interactrank")
    assert found.quality == alone.metrics["ndcg@10"]
    assert np.nanmean(found.by_seed[0].values["validation"]["ndcg@10"]) == pytest.approx(found.quality)


def test_a_kept_measurement_comes_back_and_a_missing_one_is_none(tmp_path: Path):
    kept = measured(0.25, [0.5, np.nan])
    write_measured(kept, tmp_path / "a.npz")
    found = read_measured(tmp_path / "a.npz")
    assert found is not None
    assert (found.quality, found.best_epoch, found.seconds) == (0.25, 1, 0.1)
    assert np.array_equal(found.values["test"]["auc"], kept.values["test"]["auc"], equal_nan=True)
    assert read_measured(tmp_path / "b.npz") is None


def test_tables_have_a_row_per_rung_and_say_what_was_kept():
    rungs = [RungResult("low", None, True, {}, [measured(0.1)]), RungResult("high", "low", False, {}, [measured(0.2)])]
    result = summary(rungs, {"bm25": measured(0.05).values}, seed=3)
    assert rung_rows(result, "test") == [
        ["test", "kept", *METRICS],
        ["low", "yes", *["0.100 [0.100, 0.100]"] * 3],
        ["high", "no", *["0.200 [0.200, 0.200]"] * 3],
        ["bm25", "", *["0.050 [0.050, 0.050]"] * 3],
    ]
    assert rung_difference_rows(result, "test")[1] == ["high", "low", *["+0.100 [+0.100, +0.100]"] * 3]


def test_no_seeds_and_no_split_to_choose_by_are_told_before_anything_is_trained(export, tmp_path, config):
    with pytest.raises(UsageError, match="--seeds is 0"):
        ablate(config, export, [], 0, tmp_path)
    directory = write_export(tmp_path / "data", World(requests=(20, 20, 20)))
    lacking = Export(directory)
    kept = tuple(shard for shard in lacking.manifest.shards if shard.split != "validation")
    lacking.manifest = replace(lacking.manifest, shards=kept)
    with pytest.raises(ExportError, match="no rows in split 'validation'"):
        ablate(config, lacking, [], 1, tmp_path)
