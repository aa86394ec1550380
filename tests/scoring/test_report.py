"""The page from made-up content: complete, safe, self-contained and the same every time."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.config import TrainConfig
from models.features import FeatureSpec
from models.interactrank import InteractRank
from models.model_dir import save
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import TrainResult
from scoring.report import render, seconds_by_job, write_report
from scoring.report_content import (
    ReportContent,
    TableFacts,
    collect,
    evaluated_root,
    read_ablation,
    read_evaluation,
    read_models,
)
from scoring.report_words import MISSING, headline, summary
from tests.models.export_fixture import World, manifest
from tests.scoring.report_fixture import (
    HOSTILE,
    UNKNOWN,
    ablation,
    bins,
    content,
    entry,
    evaluation,
    monitored,
    run,
    trained,
)


class _Tags(HTMLParser):
    """Counts elements and remembers ids, and fails on an element that is closed out of turn."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.ids += [value or "" for key, value in attrs if key == "id"]
        self.links += [value or "" for key, value in attrs if key in ("href", "xlink:href", "src")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> _Tags:
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


@pytest.fixture(scope="module")
def page() -> str:
    return render(content())


def test_same_content_gives_the_same_bytes(page: str) -> None:
    assert render(content()) == page


def test_page_refers_to_nothing_outside_itself(page: str) -> None:
    tags = parsed(page)
    assert not re.search(r"https?://|@import|<link|<script|<img|url\((?!#)", page)
    assert all(link.startswith("#") for link in tags.links)
    assert {link[1:] for link in tags.links} <= {*tags.ids}


def test_monitored_figures_are_drawn_over_time_and_the_features_that_moved_most(page: str) -> None:
    for title in ("Rows by table", "Share with interactions", "Share of refused rows", "PSI against the baseline day"):
        assert page.count(f"<figcaption>{title}</figcaption>") == 1
    drawn = [number for number in range(9) if f"all__feature_{number}" in page]
    assert drawn == [3, 4, 5, 6, 7, 8]
    one_day = tuple(figure for figure in monitored() if figure.ds == "2026-03-01")
    assert "Days behind" in render(content(monitoring=one_day))
    assert MISSING["monitoring"] in render(content(monitoring=()))


def test_ids_are_unique_across_all_plots(page: str) -> None:
    ids = parsed(page).ids
    assert len(ids) == len({*ids})


def test_page_stays_small(page: str) -> None:
    assert len(page.encode()) < 1_000_000


def test_numbers_of_the_content_appear(page: str) -> None:
    for text in (
        "interactrank finds an engaged item in the top 3 in 41.2 % [40.1, 42.3] of requests",
        "closes 36 % of the gap between two_tower and the oracle",
        "0.412 <small>[0.401, 0.423]</small>",
        "+6.2 points [+5.1, +7.3]",
        "4,210 requests",
        "without history",
        "duplicate",
        "9,001",
        "787,655",
        "0f3a9c21d4e5b678",
        "6.32",
        "2026-03-28",
        "3 min 07 s",
    ):
        assert text in page, text


def test_every_plot_is_there(page: str) -> None:
    assert parsed(page).seen.count("svg") == 16


def test_the_ladder_is_drawn_where_there_is_one(page: str) -> None:
    assert 'id="ladder"' not in page
    found = render(content(ablation=ablation()))
    assert found.count("<svg") == page.count("<svg") + 2
    for words in ("+ shares against two_tower, test", "31 % of the oracle", "±0.004", "0.400"):
        assert words in found
    parsed(found)


def test_note_stands_on_top() -> None:
    note = "simulated on real shopping patterns by its publisher"
    page = render(content(evaluation=evaluation(note=note)))
    assert page.index(note) < page.index('id="metrics"')


def test_hostile_names_are_text_everywhere() -> None:
    models = {HOSTILE: entry(0.4)}
    result = evaluation(
        models=models,
        differences={HOSTILE: entry(0.1)},
        slices={HOSTILE: {"requests": 3, HOSTILE: entry(0.4)}},
        calibration={HOSTILE: {HOSTILE: bins(1.0)}},
        note=HOSTILE,
        data=HOSTILE,
        coverage_by_ds={HOSTILE: {"rows": 1.0, "with_history": 0.5}},
    )
    model = replace(trained(HOSTILE, 3), version=HOSTILE, cross_weights={HOSTILE: 1.0})
    facts = TableFacts(HOSTILE, 1, HOSTILE, HOSTILE, 1)
    page = render(
        content(
            lake=HOSTILE,
            evaluation=result,
            models=(model,),
            runs=(replace(run(HOSTILE, HOSTILE, 1.0), inputs=(HOSTILE,)),),
            tables=(facts,),
            rejected={HOSTILE: 1},
            problems=(HOSTILE,),
        )
    )
    tags = parsed(page)
    assert "script" not in tags.seen
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "{{ 7 * 7 }}" in page


def test_empty_content_says_what_is_missing_and_which_command_makes_it() -> None:
    page = render(ReportContent(lake="lake", models_root="trained"))
    parsed(page)
    assert "Nothing has been evaluated yet" in page
    for section in ("evaluation", "models", "tables", "rejected", "runs"):
        assert MISSING[section] in page
    assert "<svg" not in page


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation": evaluation(models={}, slices={}, differences={}, calibration={}, coverage_by_ds={})},
        {"evaluation": evaluation(models={"bm25": UNKNOWN}, differences={}, slices={})},
        {"models": (replace(trained("two_tower"), curve=[], dot_weight=None),)},
        {"models": (replace(trained("new"), curve=[{"epoch": 1, "loss": 0.5}], best_epoch=1),)},
        {"rejected": {}},
        {"ablation": ablation() | {"rungs": ablation()["rungs"][:1], "references": {}}},
        {"evaluation": evaluation(coverage_by_ds={"2026-03-01": {"rows": 3, "with_history": 0.0}})},
    ],
    ids=["nothing evaluated", "metrics unknown", "no curve", "no validation", "nothing refused", "one rung", "one day"],
)
def test_half_empty_content_renders(changes: dict[str, Any]) -> None:
    parsed(render(content(**changes)))


def test_headline_names_the_best_model_even_when_it_is_the_baseline() -> None:
    found = evaluation(models={"two_tower": entry(0.4), "interactrank": entry(0.3)})
    assert headline(found).startswith("two_tower finds")
    assert "closes" not in " ".join(summary(found))


def test_an_interval_that_holds_zero_is_called_undecided() -> None:
    assert "no clear winner" in " ".join(summary(evaluation(differences={"interactrank": entry(0.004)})))


def test_gap_is_not_told_when_the_oracle_judged_other_requests() -> None:
    words = " ".join(summary(evaluation(oracle=entry(0.5) | {"requests": 100})))
    assert "on the 100 requests whose truth is known" in words
    assert "closes" not in words


def test_seconds_count_a_run_once_however_many_tables_it_wrote() -> None:
    runs = [run("a", "x", 3.0, "1"), run("a", "y", 5.0, "1"), run("a", "x", 2.0, "2"), run("b", "z", 9.0, "3")]
    assert seconds_by_job(runs) == {"b": (9.0, 1), "a": (7.0, 2)}


@pytest.mark.parametrize("text", ["{", "[]", '{"models": 3}'])
def test_damaged_evaluation_becomes_a_line_not_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "evaluation.json").write_text(text)
    found, problems = read_evaluation(tmp_path)
    assert found is None
    assert "prerank evaluate" in problems[0]


def test_damaged_ablation_becomes_a_line_not_an_error(tmp_path: Path) -> None:
    assert read_ablation(tmp_path) == (None, [])
    (tmp_path / "ablation.json").write_text(json.dumps(ablation() | {"rungs": 3}))
    assert read_ablation(tmp_path) == (
        None,
        [f"{tmp_path / 'ablation.json'} has no usable rungs. Run prerank ablate again."],
    )
    (tmp_path / "ablation.json").write_text(json.dumps(ablation()))
    assert read_ablation(tmp_path) == (ablation(), [])


def test_the_newest_day_with_an_evaluation_is_taken_where_every_day_has_a_folder(tmp_path: Path) -> None:
    assert evaluated_root(tmp_path) == tmp_path
    for name in ("2026-01-11", "2026-01-04", "2026-01-18", "versions"):
        (tmp_path / name).mkdir()
        if name != "2026-01-18":
            (tmp_path / name / "evaluation.json").touch()
    assert evaluated_root(tmp_path) == tmp_path / "2026-01-11"
    (tmp_path / "evaluation.json").touch()
    assert evaluated_root(tmp_path) == tmp_path


def test_models_are_those_of_the_evaluation_and_unreadable_ones_are_named(tmp_path: Path) -> None:
    for name in ("left_over", "interactrank", ".interactrank.0a1b2c3d.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text("{}")
    models, problems = read_models(tmp_path, {"models": {"bm25": {}, "interactrank": {}}})
    assert models == ()
    assert [line.split(":")[0] for line in problems] == ["Model 'interactrank'"]
    assert len(read_models(tmp_path, None)[1]) == 2


def test_fusion_weights_come_from_the_trained_model(tmp_path: Path) -> None:
    export = manifest(World(), (), np.array([5, 2]), has_oracle=False)
    config = TrainConfig(hidden=(8,), dim=4, id_buckets=8, text_buckets=16)
    spec = FeatureSpec.of(export, 0, config)
    scaling = CrossScaling.fit(np.eye(4, dtype=np.float32), spec.cross)
    model = InteractRank(spec, config, scaling, NumericStatistics.fit(torch.empty(0, 1)))
    with torch.no_grad():
        model.fusion_layer.weight.copy_(torch.tensor([0.5, -0.25, 0.0, 1.0]))
    curve = [{"epoch": 1.0, "loss": 0.5, "validation_ndcg@10": 0.4}]
    save(TrainResult("interactrank", model, config, spec, scaling, curve, 1, {}), export, tmp_path / "interactrank")
    [facts], problems = read_models(tmp_path, None)
    assert problems == []
    assert facts.cross_weights == dict(zip(export.cross, (0.5, -0.25, 0.0, 1.0), strict=True))
    assert facts.dot_weight == pytest.approx(4.0)
    page = render(content(models=(facts,)))
    assert "+0.50" in page
    assert "−0.25" in page


@pytest.mark.spark
def test_collect_reads_the_lake_and_the_page_is_written(spark: Any, tmp_path: Path) -> None:
    from etl.config import LakeConfig
    from etl.contract.dates import DateRange
    from etl.lake import Lake
    from etl.runs import Run
    from etl.write import Output, replace_partitions
    from scoring.config import PrerankConfig

    root, trained_root = tmp_path / "lake", tmp_path / "trained"
    config = PrerankConfig(lake=LakeConfig(str(root)), train=TrainConfig(models_root=str(trained_root)))
    write_report(Lake(spark, str(root)), config, tmp_path / "out" / "report.html")
    written = (tmp_path / "out" / "report.html").read_text()
    assert written == render(ReportContent(lake=str(root), models_root=str(trained_root)))

    rows = [("1", "bot", "2026-03-01"), ("2", "bot", "2026-03-02"), ("3", "duplicate", "2026-03-02")]
    frame = spark.createDataFrame(rows, "event_id string, reason string, ds string")
    job = Run(job="ingest", config_hash="h", source="log", rows_in=3, rows_rejected=3)
    lake = Lake(spark, str(root))
    days = DateRange("2026-03-01", "2026-03-02")
    replace_partitions(lake, [Output("events_rejected", frame, days, ("event_id",))], job)
    (trained_root / "2026-03-01").mkdir(parents=True)
    (trained_root / "2026-03-01" / "evaluation.json").write_text(json.dumps(evaluation(models={"bm25": entry(0.2)})))

    found = collect(Lake(spark, str(root)), config)
    assert found.rejected == {"bot": 2, "duplicate": 1}
    assert found.tables == (TableFacts("events_rejected", 2, "2026-03-01", "2026-03-02", 3),)
    [record] = found.runs
    assert (record.job, record.table, record.rows_in, record.rows_out, record.inputs) == (
        "ingest", "events_rejected", 3, 3, ("log",)
    )  # fmt: skip
    assert record.seconds >= 0
    assert list((found.evaluation or {})["models"]) == ["bm25"]
    assert found.models_root == str(trained_root / "2026-03-01")
