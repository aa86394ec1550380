"""The quality of a model on the validation split, by which epochs are judged."""

import numpy as np

from etl.contract.manifest import VALIDATION
from models import metrics
from models.config import ROW_AUC
from models.contract import Ranker
from models.errors import ExportError, TrainingError
from models.loader import FeatureTables, RequestLoader
from models.scorers import SCORING_REQUESTS, score_split
from models.telemetry import Log


def validate(model: Ranker, loader: RequestLoader) -> dict[str, float]:
    """Mean per-request metrics, and the first head's AUC and log loss (by weight) over all rows, on the split."""
    rows = loader.rows
    scores = score_split(model, loader, "validation")
    assert scores.logits is not None
    label = rows.labels[:, 0]
    ties = metrics.tie_keys(rows.request[rows.request_of_row()], rows.item)
    found = metrics.request_metrics(rows.starts, scores.ranking, label, ties)
    means = {name: float(np.nanmean(values)) for name, values in found.items() if not np.isnan(values).all()}
    means[ROW_AUC] = metrics.row_auc(scores.ranking, label)
    return means | {"logloss": metrics.log_loss(scores.logits[:, 0], label, rows.weight)}


def validation_loader(tables: FeatureTables, metric: str, log: Log) -> RequestLoader | None:
    """Of the validation split; None, with a line, if there is none.

    ExportError if it can judge nothing, TrainingError if it cannot tell epochs apart by ``metric``.
    """
    if not tables.export.has_split(VALIDATION):
        log("the export has no validation split: training runs all epochs and keeps the last")
        return None
    rows = tables.export.split(VALIDATION)
    label = rows.labels[:, 0] > 0
    if not label.any() or label.all():
        raise ExportError(
            f"the validation split of {tables.export.directory} holds only one kind of label for head "
            f"'{tables.spec.heads[0]}': no epoch can be judged. Raise export.validation_days, or set it to 0."
        )
    both = np.logical_or.reduceat(label, rows.starts[:-1]) & ~np.logical_and.reduceat(label, rows.starts[:-1])
    if metric != ROW_AUC and not both.any():
        raise TrainingError(
            f"train.early_stopping_metric is {metric}, but no request of the validation split of "
            f"{tables.export.directory} has both an engaged item and another one to rank below it: every epoch would "
            f"be as good as the first. Set train.early_stopping_metric={ROW_AUC}."
        )
    return RequestLoader(tables, rows, SCORING_REQUESTS)
