"""The verbs of the model registry, ``promote`` and ``models``, and how their results look in a terminal."""

import argparse
from typing import TYPE_CHECKING, Any

from etl.contract.dates import parse_ds
from etl.contract.manifest import TEST, VALIDATION
from etl.contract.paths import local_path
from models.config import REQUEST_METRICS

if TYPE_CHECKING:
    from scoring.context import Context
    from scoring.model_versions import ModelVersion

METRIC = "ndcg@10"


def add_verbs(subparsers: Any) -> None:
    """Add the verbs to an argparse sub-parser collection; each sets ``run(args, context) -> dict``."""
    parser = subparsers.add_parser("promote", help="a model against the champion (exit code 3 if it is not better)")
    parser.add_argument("--model", required=True, type=local_path, metavar="DIR", help="a model directory")
    parser.add_argument("--data", required=True, type=local_path, metavar="DIR", help="the export to compare on")
    parser.add_argument("--ds", required=True, metavar="D", help="the UTC day that a promotion counts from, yyyy-mm-dd")
    # Rows that a model has learned from do not judge it.
    parser.add_argument("--split", choices=(VALIDATION, TEST), default=TEST, help="rows to compare on [%(default)s]")
    parser.add_argument("--metric", choices=REQUEST_METRICS, default=METRIC, help="what decides [%(default)s]")
    parser.add_argument("--force", action="store_true", help="promote whatever the comparison says; recorded")
    parser.set_defaults(run=run_promote)
    parser = subparsers.add_parser("models", help="registered model versions, how they did, which one is champion")
    parser.add_argument("--ds", metavar="D", help="as of this UTC day, yyyy-mm-dd [the newest]")
    parser.set_defaults(run=run_models)


def run_promote(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from scoring.promote import Trial, promote

    trial = Trial(str(parse_ds(args.ds)), args.data, args.split, args.metric, args.force)
    done = promote(context.lake(), context.config, args.model, trial, context.track)
    plain = _plain(done.version)
    if done.comparison is None:
        since = f"the champion already, since {done.version.ds}: nothing changed"
        return {"changed": False, **plain, "reason": since}
    return {"changed": True, **plain}


def run_models(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from scoring.model_versions import champion_of, decisions

    lake, ds = context.lake(), None if args.ds is None else str(parse_ds(args.ds))
    champion = champion_of(lake, ds)
    return {
        "champion": None if champion is None else _plain(champion),
        "models": list(map(_plain, decisions(lake, ds))),
    }


def _plain(version: "ModelVersion") -> dict[str, Any]:
    """A row of ``models`` with its figures as evaluate writes them: ``ndcg@10`` beside ``ndcg@10_ci``.

    ``against`` is the champion at that time, None for the first; figures that do not exist are None.
    """
    row = dict(vars(version))
    metric, value, low, high = (row.pop(name) for name in ("metric", "value", "value_low", "value_high"))
    name, number, theirs = (row.pop(f"champion_{part}") for part in ("name", "version", "value"))
    difference, *bounds = (row.pop(name) for name in ("difference", "difference_low", "difference_high"))
    return {
        **row,
        "metric": metric,
        metric: value,
        f"{metric}_ci": [low, high],
        "against": None if name is None else {"model_name": name, "model_version": number, metric: theirs},
        "difference": None if difference is None else {metric: difference, f"{metric}_ci": bounds},
    }


def promote_text(result: dict[str, Any]) -> str:
    """What was decided, and the figures that it rests on."""
    from scoring.terminal import lines_of

    lines = {"model": f"{result['model_name']} {result['model_version']}", "files": result["path"]}
    if not result["changed"]:
        return lines_of({"unchanged": result["reason"], **lines})
    return lines_of(
        {
            "promoted": f"from {result['ds']} on: {result['reason']}",
            **lines,
            "compared": f"{result['requests']} requests of split '{result['split']}' of {result['data']}",
            **{name: text for name, text in _figures(result).items() if text != "-"},
        }
    )


def models_text(result: dict[str, Any]) -> str:
    """One line per decision, newest first, and where the champion's files are."""
    from scoring.terminal import lines_of, table_of

    champion = result["champion"]
    grain = ("ds", "model_name", "model_version")
    entries = [
        {
            "champion": "*" if champion and all(row[key] == champion[key] for key in grain) else "",
            "ds": row["ds"],
            "model": row["model_name"],
            "version": row["model_version"],
            "decision": "forced" if row["forced"] else "promoted" if row["promoted"] else "refused",
            **_figures(row),
            "requests": row["requests"],
            "trained on": f"{row['trained_start_ds']}..{row['trained_end_ds']}",
        }
        for row in result["models"]
    ]
    table = table_of(
        entries, empty="no model versions yet. Make one with: prerank promote --model DIR --data EXPORT --ds D"
    )
    if champion is None:
        return table
    since = f"{champion['model_name']} {champion['model_version']} since {champion['ds']}: {champion['reason']}"
    return f"{table}\n\n{lines_of({'champion': since, 'files': champion['path']})}"


def _figures(row: dict[str, Any]) -> dict[str, str]:
    from models.table import cell

    metric, against, difference = row["metric"], row["against"], row["difference"]
    return {
        "metric": f"{metric} {cell(row, metric, '.4f')}",
        "against": f"{against['model_name']} {against['model_version']}" if against else "-",
        "difference": cell(difference, metric, "+.4f") if difference else "-",
    }
