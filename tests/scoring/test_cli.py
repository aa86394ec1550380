"""How results look in a terminal."""

from scoring.cli import render


def a_trial(features: int, **changes) -> dict:
    figures = {f"f{n:02d}": {"as_of": 0.5, "naive": 0.5 + n / 100, "jump": n / 100} for n in range(features)}
    plain = {
        "days": "2026-01-04..2026-01-09",
        "cut": "2026-01-07",
        "seed": 1,
        "sample": {"share": 0.25, "queries": 30, "requests": 900, "events": 12000},
        "changed": {"after_cut": 5000, "dropped": 500},
        "rows_compared": 4000,
        "features_compared": 77,
        "moved": [],
        "control": {"rows": 3000, "moved_rows": 2900, "moved_features": 76, "unmoved_features": ["item.brand"]},
        "auc": figures,
        "suspicious": [],
    }
    return plain | changes


def test_a_trial_of_leaks_shows_its_counts_and_the_largest_jumps():
    lines = render("check", a_trial(20)).splitlines()
    assert "77 features of 4000 rows did not move" in lines[0]
    assert any("2900 of 3000 rows after the cut moved" in line for line in lines)
    assert any("item.brand" in line for line in lines)
    shown = [line.split() for line in lines if line.startswith("f") and line[1:3].isdigit()]
    assert [row[0] for row in shown] == [f"f{n:02d}" for n in range(19, 4, -1)]
    assert shown[0] == ["f19", "0.500", "0.690", "0.190"]
    assert "suspicious" not in lines[-1]
    assert render("check", a_trial(2, suspicious=["f01"])).splitlines()[-1].endswith(": f01")


def test_records_that_lack_a_column_leave_a_dash():
    curve = [{"epoch": 1, "loss": 0.5, "loss_own": 0.2}, {"epoch": 2, "loss": 0.4}, {"loss": 0.3, "epoch": 3}]
    lines = [line.split() for line in render("train", {"curve": curve}).splitlines()]
    assert lines[1:] == [["epoch", "loss", "loss_own"], ["1", "0.5", "0.2"], ["2", "0.4", "-"], ["3", "0.3", "-"]]


def test_an_evaluation_of_many_models_fits_a_terminal_and_shows_quality_slices_and_cost():
    names = [f"model_number_{index}" for index in range(12)]
    metrics = dict.fromkeys(("hits@1", "hits@3", "hits@10", "ndcg@10", "mrr", "auc"), 0.25)
    entry = metrics | {f"{metric}_ci": [0.2, 0.3] for metric in metrics}
    cost = {"flops_per_pair": 130, "bytes_per_pair": 260, "parameters": 3_000_000, "pairs_per_second": 7_640_000}
    result = {
        "models": {name: entry | {"row_auc": 0.6, "logloss": 0.3, "cost": cost} for name in names} | {"bm25": entry},
        "slices": {part: {"requests": 7} | dict.fromkeys([*names, "bm25"], entry) for part in ("head", "torso")},
        "differences": dict.fromkeys(names, entry),
        "calibration": {name: {"click": {"ratio": 1.01}} for name in names},
        "requests": 7,
        "split": "test",
    }
    text = render("evaluate", result)
    assert max(map(len, text.splitlines())) <= 180
    assert "…" not in text
    [priced] = [
        line.split() for line in text.splitlines() if line.startswith("model_number_3 ") and "7,640,000" in line
    ]
    assert priced[1:] == ["0.600", "0.300", "1.010", "130", "260", "3,000,000", "7,640,000"]


def test_an_ablation_shows_rungs_and_steps_on_both_splits_and_fits_a_terminal():
    entry = {"hits@3": 0.25, "hits@3_ci": [0.2, 0.3], "hits@3_std": 0.004}
    splits = {"validation": entry, "test": entry}
    rungs = [
        {"name": "two_tower", "before": None, "carried_on": True, "difference": dict.fromkeys(splits), **splits},
        {"name": "+ shares", "before": "two_tower", "carried_on": True, "difference": splits, **splits},
    ]
    total = {split: entry | {"relative": 0.1, "gap_closed": None} for split in splits}
    result = {
        "metrics": ["hits@3"],
        "seeds": [17, 18, 19],
        "requests": {"validation": 140, "test": 421},
        "rungs": rungs,
        "references": {"bm25": splits},
        "total": {"rung": "+ shares", "before": "two_tower", **total},
    }
    lines = render("ablate", result).splitlines()
    assert lines[0].startswith("140 validation and 421 test requests, 3 seeds")
    assert [line.split() for line in lines if line.startswith("+ shares  ")] == [
        ["+", "shares", "yes", "0.250", "[0.200,", "0.300]", "±0.004"],
        ["+", "shares", "two_tower", "+0.250", "[+0.200,", "+0.300]"],
    ] * 2
    assert lines[-1] == "+ shares against two_tower, test: hits@3 +0.250 [+0.200, +0.300], +10.0 %"


def test_a_check_of_tables_stays_as_it_was():
    promises = {"events": [{"column": "repeated_ids", "forbids": "repeats", "kept": True}]}
    text = render("check", {"days": "2026-01-04", "promises": promises})
    assert text.splitlines()[0].split() == ["days", "2026-01-04"]
    assert "repeated_ids" in text
