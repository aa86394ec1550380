"""The verbs ``train``, ``evaluate`` and ``ablate``. torch is imported when a verb runs, not when help is printed."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from etl.contract.errors import UsageError
from etl.contract.manifest import SPLITS, TEST
from etl.contract.paths import local_path
from etl.contract.publish import write_text

if TYPE_CHECKING:
    from models.config import TrainConfig
    from models.scorers import Track
    from models.telemetry import Log

BM25 = "bm25"
#: Names of ``models.registry.MODELS``, which would bring torch.
TRAINABLE = (
    "two_tower",
    "interactrank",
    "fit",
    "interactrank_fit",
    "inttower",
    "hit",
    "dat",
    "ranktower",
    "cold",
    "fscd",
)
#: Keys of ``models.ladder.steps``, likewise.
RUNGS = (
    *("shares", "windows", "segments", "rates", "backoff", "sequence", "query_items", "masknet"),
    *("in_batch", "focal"),
)
EVALUATION = "evaluation.json"
ABLATION = "ablation.json"


class _Config(Protocol):
    @property
    def train(self) -> "TrainConfig": ...


class Context(Protocol):
    """What a verb needs of the program: the configuration and a progress bar."""

    @property
    def config(self) -> _Config: ...

    @property
    def track(self) -> "Track": ...

    def log(self, message: str) -> None:
        """One line to stderr."""

    def on_executors(self, processes: int, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function`` in so many processes of one group on the cluster; returns what rank 0 returned."""


def add_verbs(subparsers: Any) -> None:
    """Add the verbs to an argparse sub-parser collection; each sets ``run(args, context) -> dict``."""
    parser: argparse.ArgumentParser = subparsers.add_parser("train", help="train a model on an export")
    parser.add_argument("--data", required=True, type=local_path, metavar="DIR", help="an export directory")
    parser.add_argument("--model", required=True, metavar="NAME", help=", ".join(TRAINABLE))
    parser.add_argument("--out", type=local_path, metavar="DIR", help="the model directory [{train.models_root}/NAME]")
    parser.add_argument("--fresh", action="store_true", help="start over, whatever an interrupted run has left")
    parser.add_argument(
        "--executors", type=int, default=0, metavar="N", help="train in N processes on Spark executors [in this one]"
    )
    parser.epilog = "On the GPUs of one host: torchrun --nproc-per-node N -m scoring.main train ..."
    parser.set_defaults(run=run_train)

    parser = subparsers.add_parser("evaluate", help="compare models on a split of an export")
    parser.add_argument("--data", required=True, type=local_path, metavar="DIR", help="an export directory")
    parser.add_argument(
        "--models",
        required=True,
        metavar="A,B",
        help="model directories, names below train.models_root, or bm25, which needs no training; all: bm25 and every "
        "model below train.models_root",
    )
    parser.add_argument("--split", choices=SPLITS, default=TEST, help="rows to compare on [%(default)s]")
    parser.set_defaults(run=run_evaluate)

    parser = subparsers.add_parser("ablate", help="train interactrank's ladder, step by step, over seeds")
    parser.add_argument("--data", required=True, type=local_path, metavar="DIR", help="an export directory")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each rung [%(default)s]")
    parser.add_argument("--rungs", metavar="A,B", help=f"the steps above two_tower [{','.join(RUNGS)}]")
    parser.add_argument("--fresh", action="store_true", help="train again what an earlier run has measured")
    parser.set_defaults(run=run_ablate)


def run_train(args: argparse.Namespace, context: Context) -> dict[str, Any] | None:
    if args.executors < 0:
        raise UsageError(f"--executors is {args.executors}: give the number of processes, 1 or more")
    if args.executors:
        # Executors run in folders of their own.
        root = Path(context.config.train.models_root).absolute()
        config = replace(context.config.train, models_root=str(root))
        out = (args.out or root / args.model).absolute()
        return context.on_executors(
            args.executors, train_in_group, config, args.model, args.data.absolute(), out, args.fresh
        )
    return train_model(args.data, args.model, args.out, context, args.fresh)


def run_evaluate(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    return evaluate_models(args.data, args.models, args.split, context)


def run_ablate(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    """The ladder's result; also kept as ``{models_root}/ablation.json``."""
    _share_cores()
    from models.ablate import ablate
    from models.code_version import code_version
    from models.dataset import Export
    from models.ladder import chosen, steps

    config = context.config.train
    root = Path(config.models_root)
    export = Export(args.data)
    wanted = chosen(steps(config, export.manifest), args.rungs)
    result = ablate(config, export, wanted, args.seeds, root / "ablation", context.track, context.log, args.fresh)
    result |= {"data": str(args.data), "code": code_version()}
    write_text(root / ABLATION, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def train_model(
    data: Path, name: str, out: Path | None, context: Context, fresh: bool = False
) -> dict[str, Any] | None:
    """Train, save, and return where and how good; None on other ranks than the first, which speaks for all."""
    config = context.config.train
    out = out or Path(config.models_root) / name
    return train_in_group(config, name, data, out, fresh, context.track, context.log)


def train_in_group(
    config: "TrainConfig",
    name: str,
    data: Path,
    out: Path,
    fresh: bool,
    track: "Track | None" = None,
    log: "Log | None" = None,
) -> dict[str, Any] | None:
    """Train as one of the processes that the environment names (see models.distributed), or alone.

    Without ``log`` the first of them writes its lines to stderr.
    """
    _share_cores()
    from models.dataset import Export
    from models.distributed import process_group
    from models.model_dir import save
    from models.registry import get_model
    from models.scorers import no_track
    from models.telemetry import no_log
    from models.train import train

    if name == BM25:
        raise UsageError("bm25 needs no training: use it directly, evaluate --models bm25,...")
    # Before anything is removed or written at a place that the name is a part of.
    get_model(name)
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    events = Path(config.models_root) / "tensorboard" / out.name if config.tensorboard else None
    with process_group(config.device) as ranks:
        if fresh and ranks.first:
            checkpoint.unlink(missing_ok=True)
        ranks.wait()
        export = Export(data)
        track, log = (track or no_track, log or _to_stderr) if ranks.first else (no_track, no_log)
        result = train(config, export, name, track, log=log, ranks=ranks, checkpoint=checkpoint, events=events)
        if not ranks.first:
            return None
        card = save(result, export.manifest, out, source=data)
        checkpoint.unlink(missing_ok=True)
    return {
        "model": card.name,
        "version": card.version,
        "out": str(out),
        "best_epoch": card.best_epoch,
        "curve": card.curve,
        "metrics": card.metrics,
        "seconds": round(result.seconds, 3),
        "rows_per_second": round(result.rows_per_second),
        "wait_share": round(result.wait_share, 4),
    }


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def evaluate_models(data: Path, models: str, split: str, context: Context, note: str = "") -> dict[str, Any]:
    """Metrics and cost of all models over the same rows; also kept as ``{models_root}/evaluation.json``."""
    _share_cores()
    from models.cost import cost_of
    from models.dataset import Export
    from models.evaluate import evaluate
    from models.open_models import open_scorers
    from models.scorers import TowerScorer

    config = context.config.train
    export = Export(data)
    scorers = open_scorers(models, config, export, context.log)
    result = evaluate(export, scorers, split, seed=config.seed, track=context.track)
    for name, scorer in scorers.items():
        entry = result["models"][name]
        entry["cost"] = None
        if isinstance(scorer, TowerScorer):
            entry["cost"] = cost_of(scorer, export, split)
            entry |= {"learned": learned} if (learned := scorer.model.learned()) else {}
    result |= {"data": str(data), "note": note, "coverage_by_ds": export.manifest.coverage_by_ds}
    write_text(Path(config.models_root) / EVALUATION, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def _share_cores() -> None:
    # OpenMP threads that spin at barriers slow a step tenfold when anything else runs; read once, when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
