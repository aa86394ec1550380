import json
import pickle
from argparse import ArgumentParser
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from etl.contract.errors import UsageError
from etl.contract.manifest import TEST, TRAIN
from models.bm25 import Bm25, Bm25Scorer
from models.cli import add_verbs
from models.config import TrainConfig
from models.dataset import Export
from models.errors import ExportError, FeatureContractError, ModelError, TrainingError
from models.evaluate import evaluate
from models.metrics import PER_REQUEST
from models.model_dir import save
from models.open_models import open_scorers
from models.row_metrics import ROW_METRICS
from models.scorers import RowScores, SharedTables, TowerScorer, no_track
from models.slices import query_tiers
from models.table import cost_rows, difference_rows, metrics_rows, probability_rows, slice_rows
from models.train import TrainResult
from tests.models.export_fixture import World, write_export


@pytest.fixture(scope="module")
def result(export: Export, two_tower: TrainResult, interactrank: TrainResult) -> dict[str, Any]:
    towers = {found.name: TowerScorer(found.model, found.spec) for found in (two_tower, interactrank)}
    return evaluate(export, {"bm25": Bm25Scorer()} | towers)


@dataclass
class Fixed:
    """Scores given by hand."""

    scores: np.ndarray

    def score(self, export: Export, rows: Any, description: str, track: Any) -> RowScores:
        return RowScores(self.scores, None)


def test_it_holds_what_the_interface_promises(result: dict[str, Any]):
    assert list(result["models"]) == ["bm25", "two_tower", "interactrank"]
    for entry in [*result["models"].values(), result["oracle"]]:
        for metric in (*PER_REQUEST, *(name for name in ROW_METRICS if name in entry)):
            low, high = entry[f"{metric}_ci"]
            assert low <= entry[metric] <= high
    assert result["split"] == TEST
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_interactrank_beats_the_two_tower_and_the_oracle_beats_all(result: dict[str, Any]):
    models = result["models"]
    assert result["differences"]["interactrank"]["ndcg@10_ci"][0] > 0
    assert models["bm25"]["auc"] > 0.5
    assert all(result["oracle"]["ndcg@10"] > entry["ndcg@10"] for entry in models.values())


def test_differences_are_paired_against_two_tower(result: dict[str, Any]):
    models, found = result["models"], result["differences"]
    assert sorted(found) == ["bm25", "interactrank"]
    for name, entry in found.items():
        assert entry["mrr"] == pytest.approx(models[name]["mrr"] - models["two_tower"]["mrr"])
        assert entry["row_auc"] == pytest.approx(models[name]["row_auc"] - models["two_tower"]["row_auc"])
    assert found["interactrank"]["row_auc_ci"][0] > 0
    assert found["interactrank"]["logloss_ci"][1] < 0
    assert "logloss" not in found["bm25"]


def test_slices_partition_the_judged_requests(result: dict[str, Any]):
    slices = result["slices"]
    assert sum(slices[name]["requests"] for name in ("head", "torso", "tail")) == result["requests"]
    assert slices["with_history"]["requests"] + slices["without_history"]["requests"] == result["requests"]
    total = sum(slices[name]["requests"] * slices[name]["bm25"]["mrr"] for name in ("head", "torso", "tail"))
    assert total / result["requests"] == pytest.approx(result["models"]["bm25"]["mrr"])


def test_calibration_is_reported_by_head_and_only_for_models_with_probabilities(result: dict[str, Any]):
    assert sorted(result["calibration"]) == ["interactrank", "two_tower"]
    heads = result["calibration"]["interactrank"]
    assert sorted(heads) == ["engagement", "purchase"]
    assert sum(entry["rows"] for entry in heads["purchase"]["bins"]) == result["rows"]
    assert 0.7 < heads["engagement"]["ratio"] < 1.4
    assert "logloss" not in result["models"]["bm25"]


def test_equal_scores_are_chance_whatever_the_labels(export: Export):
    rows = export.split(TEST)
    found = evaluate(export, {"flat": Fixed(np.zeros(len(rows)))})["models"]["flat"]
    assert found["auc"] == 0.5
    assert found["hits@1_ci"][0] < (rows.labels[:, 0].mean() + 0.05)
    assert found["row_auc"] == 0.5


def test_a_score_that_is_no_number_is_an_error_naming_the_model(export: Export):
    scores = np.zeros(len(export.split(TEST)))
    scores[3] = np.nan
    with pytest.raises(ModelError, match="model 'broken' gives a score that is no number in 1 of 1600 rows"):
        evaluate(export, {"broken": Fixed(scores)})


def test_a_split_without_positives_is_an_error(tmp_path: Path):
    export = Export(write_export(tmp_path / "data", World(requests=(5, 2, 2))))
    export.split(TEST).labels[:] = 0
    with pytest.raises(ExportError, match="no positive of head 'engagement'"):
        evaluate(export, {"bm25": Bm25Scorer()})


def test_the_oracle_skips_requests_that_it_does_not_know_and_is_absent_where_there_is_none(tmp_path: Path):
    export = Export(write_export(tmp_path / "data", World(requests=(40, 10, 30))))
    export.split(TEST).oracle[0] = np.nan
    positive = export.split(TEST).labels[:8, 0].any()
    found = evaluate(export, {"bm25": Bm25Scorer()})
    assert found["oracle"]["requests"] == found["requests"] - positive
    bare = Export(write_export(tmp_path / "bare", World(requests=(40, 10, 30)), has_oracle=False))
    assert "oracle" not in evaluate(bare, {"bm25": Bm25Scorer()})


def test_query_tiers_hold_a_third_of_the_training_rows_each():
    assert query_tiers(np.array([10, 50, 20, 0, 10, 10])).tolist() == [2, 0, 1, 2, 2, 2]


def test_bm25_scores_equal_the_lucene_formula():
    tokens = [["red", "shoe"], ["red", "hat", "red"], ["blue"]]
    scores = Bm25(tokens, k1=1.2, b=0.75).scores("Red unknown")
    idf = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    mean = 2.0
    expected = [
        idf * tf / (tf + 1.2 * (0.25 + 0.75 * len(doc) / mean)) for doc, tf in zip(tokens, [1, 2, 0], strict=True)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert (Bm25(tokens, 1.2, 0.75).scores("nothing known") == 0).all()


def test_bm25_rows_follow_their_query_and_item(export: Export):
    rows = export.split(TEST)
    found = Bm25Scorer().score(export, rows, "", no_track).ranking
    topic = np.array([int(text.split()[0].removeprefix("Topic")) for text in export.items.text])
    asked = np.array([int(key.split()[0].removeprefix("topic")) for key in export.queries[0]])
    match = topic[rows.item] == asked[rows.query[rows.request_of_row()]]
    assert (found[match] > 0).all()
    assert (found[~match] == 0).all()


def test_tables_are_strings_with_intervals(result: dict[str, Any]):
    rows = metrics_rows(result)
    assert [row[0] for row in rows] == ["model", "bm25", "two_tower", "interactrank", "oracle"]
    entry = result["models"]["bm25"]
    low, high = entry["hits@3_ci"]
    assert rows[1][rows[0].index("hits@3")] == f"{entry['hits@3']:.3f} [{low:.3f}, {high:.3f}]"
    by_slice = slice_rows(result)
    assert by_slice[0] == ["hits@3", *result["slices"]]
    assert by_slice[1] == ["requests", *(str(entry["requests"]) for entry in result["slices"].values())]
    assert [row[0] for row in by_slice[2:]] == ["bm25", "two_tower", "interactrank", "oracle"]
    assert by_slice[2][1].split()[0] == f"{result['slices']['head']['bm25']['hits@3']:.3f}"
    assert difference_rows(result)[1][1][0] in "+-"


def test_probabilities_and_costs_are_rows_of_the_same_models_with_dashes_where_there_are_none(result: dict[str, Any]):
    priced = {"flops_per_pair": 1234, "bytes_per_pair": 260, "parameters": 5_000_000, "pairs_per_second": 123_456}
    models = {
        name: entry | {"cost": priced if name == "two_tower" else None} for name, entry in result["models"].items()
    }
    quality, cost = probability_rows(result), cost_rows(result | {"models": models})
    assert quality[0] == ["model", "row auc", "logloss", "calibration engagement", "calibration purchase"]
    assert [row[0] for row in quality] == [row[0] for row in cost] == ["model", *result["models"]]
    assert quality[1][2:] == ["-", "-", "-"]
    calibrated = result["calibration"]["two_tower"]["engagement"]
    low, high = calibrated["ratio_ci"]
    assert low < calibrated["ratio"] < high
    assert quality[2][3] == f"{calibrated['ratio']:.3f} [{low:.3f}, {high:.3f}]"
    assert cost[1:3] == [["bm25", "-", "-", "-", "-"], ["two_tower", "1,234", "260", "5,000,000", "123,000"]]
    assert cost_rows(result)[2] == ["two_tower", "-", "-", "-", "-"]


def test_verbs_train_and_evaluate(tmp_path: Path, config: TrainConfig):
    data = write_export(tmp_path / "data", World(requests=(60, 20, 20)))
    parser = ArgumentParser()
    add_verbs(parser.add_subparsers())
    small = replace(config, epochs=1, models_root=str(tmp_path / "trained"))
    context = SimpleNamespace(config=SimpleNamespace(train=small), track=no_track, log=print)

    def run(*words: str) -> dict[str, Any]:
        args = parser.parse_args(words)
        return args.run(args, context)

    trained = run("train", "--data", str(data), "--model", "two_tower")
    assert trained["out"] == str(tmp_path / "trained/two_tower")
    other = tmp_path / "again"
    assert (
        run("train", "--data", str(data), "--model", "two_tower", "--out", str(other))["version"] == trained["version"]
    )
    found = run("evaluate", "--data", str(data), "--models", f"bm25,two_tower,{other}", "--split", TRAIN)
    assert list(found["models"]) == ["bm25", "two_tower", "again"]
    assert found["models"]["again"]["mrr"] == found["models"]["two_tower"]["mrr"]
    assert found["models"]["bm25"]["cost"] is None
    assert found["models"]["again"]["cost"]["flops_per_pair"] == 2 * small.dim
    with pytest.raises(UsageError, match="bm25 needs no training"):
        run("train", "--data", str(data), "--model", "bm25")


def test_models_that_do_not_exist_or_repeat_are_errors(
    tmp_path: Path, config: TrainConfig, two_tower: TrainResult, export: Export
):
    save(two_tower, export.manifest, tmp_path / "two_tower")
    rooted = replace(config, models_root=str(tmp_path))
    with pytest.raises(ModelError, match="interactrank"):
        open_scorers("bm25,interactrank", rooted, export, print)
    with pytest.raises(UsageError, match="twice"):
        open_scorers("two_tower,two_tower", rooted, export, print)
    with pytest.raises(UsageError, match="empty"):
        open_scorers(" , ", rooted, export, print)


def test_all_are_bm25_and_every_model_below_the_root_by_its_directory(
    tmp_path: Path, config: TrainConfig, two_tower: TrainResult, export: Export
):
    for place in ("two_tower", "a_second", "versions", "tensorboard", ".two_tower.0a1b.tmp", "versions/two_tower/0a1b"):
        save(two_tower, export.manifest, tmp_path / place)
    (tmp_path / "two_tower.checkpoint").write_bytes(b"")
    (tmp_path / "unfinished").mkdir()
    rooted = replace(config, models_root=str(tmp_path))
    assert list(open_scorers("all", rooted, export, print)) == ["bm25", "a_second", "two_tower"]
    nothing = replace(config, models_root=str(tmp_path / "nothing"))
    assert list(open_scorers("all", nothing, export, print)) == ["bm25"]


def test_a_model_that_does_not_fit_is_named_and_all_leaves_it_out(
    tmp_path: Path, config: TrainConfig, two_tower: TrainResult, interactrank: TrainResult, export: Export
):
    save(two_tower, export.manifest, tmp_path / "two_tower")
    other = replace(interactrank.spec, cross=("other", *interactrank.spec.cross[1:]))
    save(replace(interactrank, spec=other), export.manifest, tmp_path / "of_other_data")
    save(two_tower, export.manifest, tmp_path / "oracle")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/model.json").write_text("{}")
    rooted = replace(config, models_root=str(tmp_path))
    with pytest.raises(ModelError, match=r"of_other_data: .*'cross\[0\]'"):
        open_scorers("two_tower,of_other_data", rooted, export, print)
    with pytest.raises(UsageError, match="the truth"):
        open_scorers("two_tower,oracle", rooted, export, print)
    said: list[str] = []
    assert list(open_scorers("all", rooted, export, said.append)) == ["bm25", "two_tower"]
    left_out = [str(tmp_path / name) for name in ("damaged", "of_other_data", "oracle")]
    assert [line.split(" is left out: ")[0] for line in said] == left_out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_models_are_scored_on_the_device_of_the_configuration(
    tmp_path: Path, config: TrainConfig, two_tower: TrainResult, export: Export, monkeypatch: pytest.MonkeyPatch
):
    save(two_tower, export.manifest, tmp_path / "two_tower")
    rooted = replace(config, models_root=str(tmp_path), device="cuda")
    with pytest.raises(TrainingError, match=r"train\.device"):
        open_scorers("two_tower", rooted, export, print)
    monkeypatch.setattr("models.open_models.device_of", lambda wanted: torch.device("meta"))
    opened = open_scorers("two_tower", rooted, export, print)["two_tower"]
    assert isinstance(opened, TowerScorer)
    assert {parameter.device.type for parameter in opened.model.parameters()} == {"meta"}


def test_models_of_one_contract_share_their_tables(config: TrainConfig, two_tower: TrainResult, export: Export):
    shared = SharedTables()
    one, two = (TowerScorer(two_tower.model, two_tower.spec, shared) for _ in range(2))
    other = TowerScorer(two_tower.model, replace(two_tower.spec, ngram=4), shared)
    assert one.tables(export) is two.tables(export)
    assert other.tables(export).spec.ngram == 4
    assert one.tables(export).spec == two_tower.spec


def test_errors_pickle_with_their_message():
    error = FeatureContractError("cross[1]", "a", None)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "cross[1]" in str(error)
