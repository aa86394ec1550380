"""Models side by side over the same rows, with intervals, slices and paired differences.

Items are ordered by the head-weighted logit (what bulk scoring orders by) and judged by the first head's label.
Requests without a positive of that head count in the row metrics only.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from etl.contract.manifest import TEST
from models import metrics
from models.bootstrap import intervals
from models.dataset import Export, Rows
from models.errors import ExportError, ModelError
from models.row_metrics import ROW_METRICS, Resampled, of_head, plain, row_metrics
from models.scorers import OracleScorer, RowScores, Scorer, Track, no_track
from models.slices import request_slices

BASELINE = "two_tower"
ORACLE = "oracle"
Columns = dict[tuple[str, str, str], npt.NDArray[np.float64]]


def evaluate(
    export: Export,
    scorers: Mapping[str, Scorer],
    split: str = TEST,
    seed: int = 17,
    track: Track = no_track,
    baseline: str = BASELINE,
) -> dict[str, Any]:
    """Metrics of every scorer by name, as plain JSON values.

    Keys: models, oracle (where the export has one), slices, differences (against ``baseline``), calibration, requests,
    rows, split. Raises ExportError for a split without rows or positives, ModelError for a score that is no number.
    """
    rows = export.split(split)
    if not (rows.labels[:, 0] > 0).any():
        head = export.manifest.heads[0].name
        raise ExportError(
            f"split '{split}' of {export.directory} has no positive of head '{head}': nothing can be "
            f"ranked right or wrong. Export a longer range, or check heads[0].actions."
        )
    named = dict(scorers)
    if export.manifest.has_oracle:
        named[ORACLE] = OracleScorer()
    scores = {name: checked_scores(name, scorer, export, rows, track) for name, scorer in named.items()}
    per_request = {name: request_values(score, rows) for name, score in scores.items()}
    slices = request_slices(export, rows)
    table = with_intervals(_columns(per_request, slices, baseline), seed)
    over_rows = row_metrics(scores, rows, [head.name for head in export.manifest.heads], seed)
    overall = {name: table["", name] | _row_entry(over_rows[name]) for name in scores}
    result: dict[str, Any] = {
        "models": {name: overall[name] for name in scorers},
        "slices": _slices(table, per_request, slices),
        "differences": _differences(table, over_rows, baseline),
        "calibration": {
            name: _calibration(score, rows, export, over_rows[name]) for name, score in scores.items() if _has(score)
        },
        "requests": int((~np.isnan(next(iter(per_request.values()))["mrr"])).sum()),
        "rows": len(rows),
        "split": split,
    }
    if ORACLE in overall:
        judged = int((~np.isnan(per_request[ORACLE]["mrr"])).sum())
        result[ORACLE] = overall[ORACLE] | {"requests": judged}
    return result


def checked_scores(name: str, scorer: Scorer, export: Export, rows: Rows, track: Track) -> RowScores:
    """Scores of every row. ModelError for one that is no number; the oracle may leave rows out, but not all."""
    score = scorer.score(export, rows, f"scoring with {name}", track)
    bad = int(np.count_nonzero(~np.isfinite(score.ranking)))
    if bad == len(rows) and name == ORACLE:
        raise ExportError(
            f"{export.directory}: no row of split '{rows.split}' has an oracle, but the manifest says has_oracle. "
            f"Export again with the truth of the same log."
        )
    if bad and name != ORACLE:
        raise ModelError(
            f"model '{name}' gives a score that is no number in {bad} of {len(rows)} rows of split '{rows.split}'. "
            f"Train it again; if it stays, lower train.learning_rate."
        )
    return score


def request_values(score: RowScores, rows: Rows) -> dict[str, npt.NDArray[np.float64]]:
    """Every metric for each request (R,); NaN where it judges nothing, or where rows have no score (of the oracle)."""
    ties = metrics.tie_keys(rows.request[rows.request_of_row()], rows.item)
    values = metrics.request_metrics(rows.starts, score.ranking, rows.labels[:, 0], ties)
    unknown = np.logical_or.reduceat(np.isnan(score.ranking), rows.starts[:-1])
    for value in values.values():
        value[unknown] = np.nan
    return values


def _has(score: RowScores) -> bool:
    return score.logits is not None


def _columns(
    per_request: dict[str, dict[str, npt.NDArray[np.float64]]],
    slices: dict[str, npt.NDArray[np.bool_]],
    baseline: str,
) -> Columns:
    """(slice or '' or '-' for a paired difference, model, metric) -> values (R,)."""
    columns: Columns = {}
    for name, values in per_request.items():
        for metric, value in values.items():
            columns["", name, metric] = value
            for part, mask in slices.items():
                columns[part, name, metric] = np.where(mask, value, np.nan)
            if baseline in per_request and name not in (baseline, ORACLE):
                columns["-", name, metric] = value - per_request[baseline][metric]
    return columns


def with_intervals(columns: Columns, seed: int) -> dict[tuple[str, str], dict[str, Any]]:
    """Means and intervals by (part, name) and metric, of values (R,) by all three; NaN is left out."""
    matrix = np.stack(list(columns.values()), axis=1)
    matrix = matrix[~np.isnan(matrix).all(axis=1)]
    low, high = intervals(matrix, seed)
    seen = ~np.isnan(matrix)
    count = seen.sum(axis=0)
    mean = np.divide(np.where(seen, matrix, 0.0).sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0)
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for index, (part, name, metric) in enumerate(columns):
        cell = table.setdefault((part, name), {})
        cell[metric] = plain(mean[index])
        cell[f"{metric}_ci"] = [plain(low[index]), plain(high[index])]
    return table


def _row_entry(found: Mapping[str, Resampled]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for metric in ROW_METRICS:
        if metric in found:
            entry |= found[metric].plain(metric)
    return entry


def _calibration(score: RowScores, rows: Rows, export: Export, over_rows: Mapping[str, Resampled]) -> dict[str, Any]:
    """By head: mean prediction, mean outcome, their ratio with its interval, and the reliability table."""
    assert score.logits is not None
    result = {}
    for index, head in enumerate(export.manifest.heads):
        probability = metrics.sigmoid(score.logits[:, index])
        found = metrics.Calibration.of(probability, rows.labels[:, index], rows.weight)
        result[head.name] = {
            "predicted": plain(found.predicted),
            "observed": plain(found.observed),
            **over_rows[of_head(head.name)].plain("ratio"),
            "bins": found.bins,
        }
    return result


def _slices(
    table: dict[tuple[str, str], dict[str, Any]],
    per_request: dict[str, dict[str, npt.NDArray[np.float64]]],
    slices: dict[str, npt.NDArray[np.bool_]],
) -> dict[str, Any]:
    judged = ~np.isnan(next(iter(per_request.values()))["mrr"])
    return {
        part: {"requests": int((mask & judged).sum())} | {name: table[part, name] for name in per_request}
        for part, mask in slices.items()
    }


def _differences(
    table: dict[tuple[str, str], dict[str, Any]], over_rows: dict[str, dict[str, Resampled]], baseline: str
) -> dict[str, Any]:
    """Per model: its metrics minus the baseline's on the same requests; empty when the baseline is not evaluated."""
    differences = {}
    for name, found in over_rows.items():
        if ("-", name) in table:
            base = over_rows[baseline]
            rows = {metric: figure - base[metric] for metric, figure in found.items() if metric in base}
            differences[name] = table["-", name] | _row_entry(rows)
    return differences
