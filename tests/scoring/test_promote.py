"""The table ``models`` over three days: who is champion when, what is recorded, what a rerun leaves alone."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark.sql import SparkSession

from etl.config import LakeConfig
from etl.contract import columns as c
from etl.contract.manifest import FILE, TEST
from etl.lake import Lake
from models.config import TrainConfig
from models.dataset import Export
from models.errors import FeatureContractError
from models.model_dir import WEIGHTS, ModelCard, save
from models.scorers import no_track
from models.train import train
from scoring.config import PrerankConfig
from scoring.errors import NoChampionError, NotPromotedError, ScoringError
from scoring.main import parse
from scoring.model_versions import champion_directory, champion_of, decisions
from scoring.promote import Promotion, Trial, promote
from scoring.registry_cli import models_text, promote_text, run_models, run_promote
from tests.models.export_fixture import World, write_export

pytestmark = pytest.mark.spark

D = ["2026-01-03", "2026-01-04", "2026-01-05", "2026-01-06"]
SMALL = TrainConfig(
    epochs=2, batch_requests=32, learning_rate=0.01, dim=8, hidden=(16,), id_dim=4, category_dim=4, text_buckets=1024,
    id_buckets=256, category_buckets=64, max_text_features=16, history_length=5, device="cpu",
)  # fmt: skip


@dataclass(frozen=True)
class Trained:
    data: Path
    cards: dict[str, ModelCard]
    directories: dict[str, Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A weak and a strong model on one export."""
    root = tmp_path_factory.mktemp("trained")
    export = Export(write_export(root / "data", World(requests=(400, 40, 150))))
    directories = {name: root / name for name in ("two_tower", "interactrank")}
    cards = {name: save(train(SMALL, export, name), export.manifest, at) for name, at in directories.items()}
    return Trained(root / "data", cards, directories)


class Registry:
    """A lake with models, as the verbs see it: every call reads it anew."""

    def __init__(self, spark: SparkSession, root: Path, trained: Trained):
        self.spark, self.trained = spark, trained
        self.config = replace(
            PrerankConfig(),
            lake=LakeConfig(root=str(root / "lake")),
            train=replace(SMALL, models_root=str(root / "trained")),
        )

    def lake(self) -> Lake:
        return Lake(self.spark, self.config.lake.root)

    def promote(self, name: str, ds: str, force: bool = False, data: Path | None = None) -> Promotion:
        trial = Trial(ds, data or self.trained.data, TEST, "ndcg@10", force)
        return promote(self.lake(), self.config, self.trained.directories[name], trial, no_track)

    def champion(self, ds: str) -> str | None:
        found = champion_of(self.lake(), ds)
        return None if found is None else found.model_name


@pytest.fixture(scope="module")
def history(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Registry:
    """D[1]: the weak model is first, then the strong one wins; the weak one loses on D[2] and is forced on D[3]."""
    registry = Registry(spark, tmp_path_factory.mktemp("registry"), trained)
    registry.promote("two_tower", D[1])
    registry.promote("interactrank", D[1])
    with pytest.raises(NotPromotedError):
        registry.promote("two_tower", D[2])
    registry.promote("two_tower", D[3], force=True)
    return registry


@pytest.fixture
def registry(history: Registry, tmp_path: Path) -> Registry:
    """A copy of the history that may be written to and damaged; champions' files stay where they are."""
    copy = Registry(history.spark, tmp_path, history.trained)
    shutil.copytree(history.config.lake.root, copy.config.lake.root)
    copy.config = replace(copy.config, train=history.config.train)
    return copy


def test_the_champion_of_a_day_is_the_last_promotion_up_to_it(history: Registry):
    assert [history.champion(ds) for ds in D] == [None, "interactrank", "interactrank", "two_tower"]
    assert history.champion("2026-02-01") == "two_tower"


def test_every_decision_is_a_row_with_what_it_rests_on(history: Registry):
    found = decisions(history.lake())
    assert [(one.ds, one.model_name, one.sequence, one.promoted, one.forced) for one in found] == [
        (D[3], "two_tower", 1, True, True),
        (D[2], "two_tower", 1, False, False),
        (D[1], "interactrank", 2, True, False),
        (D[1], "two_tower", 1, True, False),
    ]
    cards = history.trained.cards
    forced, refused, better, first = found
    assert (first.champion_version, first.champion_value, first.difference) == (None, None, None)
    assert (better.champion_name, better.champion_version) == ("two_tower", cards["two_tower"].version)
    assert better.difference == pytest.approx(better.value - first.value)
    assert (better.difference_low or 0) > 0 > (refused.difference_high or 0)
    assert (forced.difference, forced.reason) == (refused.difference, f"forced although {refused.reason}")
    assert (refused.trained_start_ds, refused.trained_end_ds) == ("2026-01-01", "2026-01-03")
    assert (better.model_version, better.metrics) == (cards["interactrank"].version, cards["interactrank"].metrics)
    assert [one.ds for one in decisions(history.lake(), D[1])] == [D[1], D[1]]


def test_a_refusal_tells_both_values_the_interval_and_what_to_do(registry: Registry):
    with pytest.raises(NotPromotedError) as caught:
        registry.promote("two_tower", D[2])
    [refused] = [one for one in decisions(registry.lake()) if not one.promoted]
    assert refused.champion_value is not None
    text = str(caught.value)
    for part in (f"{refused.value:.4f}", f"{refused.champion_value:.4f}", f"{refused.difference_low:+.4f}", "--force"):
        assert part in text
    assert caught.value.exit_code == 3


def test_running_the_same_command_again_writes_nothing(registry: Registry):
    before = registry.lake().version(c.MODELS)
    with pytest.raises(NotPromotedError):
        registry.promote("two_tower", D[2])
    again = registry.promote("two_tower", D[3], force=True)
    assert (again.comparison, again.version.ds) == (None, D[3])
    assert registry.promote("interactrank", D[2]).comparison is None
    assert registry.lake().version(c.MODELS) == before


def test_on_one_day_the_later_promotion_counts(registry: Registry):
    registry.promote("two_tower", D[1], force=True)
    assert registry.champion(D[1]) == "two_tower"
    registry.promote("interactrank", D[1])
    assert registry.champion(D[1]) == "interactrank"
    of_day = decisions(registry.lake(), D[1])
    assert [(one.model_name, one.sequence) for one in of_day] == [("interactrank", 4), ("two_tower", 3)]


def test_a_new_training_in_the_same_folder_does_not_change_the_champion(registry: Registry, trained: Trained):
    directory, saved = trained.directories["interactrank"], trained.directories["interactrank"].with_name("saved")
    shutil.copytree(directory, saved)
    try:
        shutil.copyfile(trained.directories["two_tower"] / WEIGHTS, directory / WEIGHTS)
        champion = champion_directory(registry.lake(), D[2])
        assert (champion / WEIGHTS).read_bytes() == (saved / WEIGHTS).read_bytes()
        assert champion.parts[-2:] == ("interactrank", trained.cards["interactrank"].version)
    finally:
        shutil.rmtree(directory)
        saved.rename(directory)


def test_a_champion_whose_files_changed_is_an_error_and_force_goes_on_without_it(registry: Registry, tmp_path: Path):
    champion = champion_of(registry.lake(), D[3])
    assert champion is not None
    weights = Path(champion.path) / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    try:
        with pytest.raises(ScoringError, match=r"not those that were registered"):
            champion_directory(registry.lake(), D[3])
        with pytest.raises(ScoringError, match=r"cannot be compared.*--force"):
            registry.promote("interactrank", D[3])
        done = registry.promote("interactrank", D[3], force=True)
        assert (done.version.forced, done.version.champion_version, done.version.difference) == (
            True, champion.model_version, None,
        )  # fmt: skip
    finally:
        weights.write_bytes(whole)


def test_a_champion_of_another_feature_contract_is_an_error_that_names_the_column(registry: Registry, tmp_path: Path):
    data = tmp_path / "renamed"
    shutil.copytree(registry.trained.data, data)
    plain = json.loads((data / FILE).read_text())
    plain["cross"][1] = "all__save_rate_30d"
    (data / FILE).write_text(json.dumps(plain))
    other = tmp_path / "other"
    save(train(replace(SMALL, epochs=1), Export(data), "two_tower"), Export(data).manifest, other)
    trial = Trial(D[3], data, TEST, "ndcg@10")
    with pytest.raises(ScoringError, match=r"'cross\[1\]'.*--force"):
        promote(registry.lake(), registry.config, other, trial, no_track)
    with pytest.raises(FeatureContractError, match=r"cross\[1\]"):
        registry.promote("interactrank", D[3], data=data)
    done = promote(registry.lake(), registry.config, other, replace(trial, force=True), no_track)
    assert done.version.forced
    assert "cross[1]" in done.version.reason


def test_score_takes_the_champion_of_the_day_that_it_scores(history: Registry, monkeypatch: pytest.MonkeyPatch):
    import scoring.score

    asked: list[Path] = []

    def score(lake: Lake, config: PrerankConfig, ds: str, model_dir: Path) -> SimpleNamespace:
        asked.append(model_dir)
        return SimpleNamespace(ds=ds)

    monkeypatch.setattr(scoring.score, "score_candidates", score)

    def run(model: str, ds: str) -> None:
        args = parse(["score", "--model", model, "--ds", ds])
        args.run(args, history)

    run("champion", D[2])
    run("champion", D[3])
    run("./champion", D[3])
    assert [path.parts[-2:-1] for path in asked[:2]] == [("interactrank",), ("two_tower",)]
    assert asked[2] == Path("champion")
    with pytest.raises(NoChampionError, match="prerank promote"):
        run("champion", D[0])


def test_the_verbs_show_decisions_and_mark_the_champion(registry: Registry):
    def run(words: list[str], verb: Callable[..., dict[str, object]]) -> dict[str, object]:
        return verb(parse(words), SimpleNamespace(lake=registry.lake, config=registry.config, track=no_track))

    found = run(["models", "--ds", D[2]], run_models)
    lines = models_text(found).splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("*")] == [["*", D[1]]]
    assert [word for line in lines for word in line.split() if word in ("refused", "promoted", "forced")] == [
        "refused", "promoted", "promoted",
    ]  # fmt: skip
    assert json.loads(json.dumps(found)) == found
    model, data = (str(path) for path in (registry.trained.directories["two_tower"], registry.trained.data))
    done = run(["promote", "--model", model, "--data", data, "--ds", D[3]], run_promote)
    assert (done["changed"], done["promoted"]) == (False, True)
    assert f"since {D[3]}" in promote_text(done)
    done = run(["promote", "--model", model, "--data", data, "--ds", D[2], "--force"], run_promote)
    assert "forced although" in promote_text(done)


def test_a_lake_without_models_has_none_and_says_how_to_begin(spark: SparkSession, tmp_path: Path, trained: Trained):
    empty = Registry(spark, tmp_path, trained)
    found = run_models(parse(["models"]), SimpleNamespace(lake=empty.lake))
    assert found == {"champion": None, "models": []}
    assert "prerank promote" in models_text(found)
    with pytest.raises(NoChampionError):
        champion_directory(empty.lake(), D[0])
