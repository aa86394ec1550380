"""The verbs of scoring, and how every verb's result looks in a terminal."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl.cli import add_days, day_of
from etl.contract.paths import local_path
from etl.operations.text import figure_rows, lineage_text, run_rows, upkeep_rows
from scoring import registry_cli
from scoring.candidates import cli as candidates_cli
from scoring.cluster_package import cli as package_cli
from scoring.serving import cli as serving_cli

if TYPE_CHECKING:
    from scoring.context import Context

DEMO_SOURCES = ("simulate", "complete-journey")
_SHOWN_DRIFTS = 10
_SHOWN_DAYS = 8


def add_verbs(subparsers: Any) -> None:
    """Add the verbs to an argparse sub-parser collection; each sets ``run(args, context) -> dict``."""
    candidates_cli.add_verbs(subparsers)
    parser = subparsers.add_parser("score", help="the candidates of a ds through a model -> scores")
    parser.add_argument("--model", required=True, metavar="DIR", help="a model directory, or champion: that of the ds")
    add_days(parser)
    parser.add_argument(
        "--explain",
        nargs=2,
        metavar=("REQUEST", "ITEM"),
        help="print where one pair's score comes from; writes nothing",
    )
    parser.set_defaults(run=run_score)
    parser = subparsers.add_parser("embed", help="the catalogue of a ds through a model's item tower -> item_vectors")
    parser.add_argument("--model", required=True, metavar="DIR", help="a model directory, or champion: that of the ds")
    add_days(parser)
    parser.set_defaults(run=run_embed)
    registry_cli.add_verbs(subparsers)
    serving_cli.add_verbs(subparsers)
    package_cli.add_verbs(subparsers)
    parser = subparsers.add_parser("report", help="one self-contained HTML page with plots")
    parser.add_argument("--out", required=True, type=local_path, metavar="FILE", help="the HTML file")
    parser.set_defaults(run=run_report)
    parser = subparsers.add_parser("show-config", help="every effective value and where it came from")
    parser.set_defaults(run=run_show_config)
    parser = subparsers.add_parser("demo", help="the whole job in a scratch lake")
    parser.add_argument("--source", choices=DEMO_SOURCES, default="simulate", help="the log [%(default)s]")
    parser.add_argument("--events", type=int, default=300_000, metavar="N", help="simulated raw rows [%(default)s]")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the simulated log [%(default)s]")
    parser.add_argument("--out", type=local_path, metavar="DIR", help="the scratch folder [./scratch/demo-SOURCE]")
    parser.set_defaults(run=run_demo)


def run_score(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from scoring.explain import explain
    from scoring.model_versions import model_directory
    from scoring.score import score_candidates

    ds, lake = day_of(args, "score ranks the candidates of"), context.lake()
    model = model_directory(lake, args.model, ds)
    if args.explain:
        return asdict(explain(lake, context.config, ds, model, *args.explain))
    return vars(score_candidates(lake, context.config, ds, model))


def run_embed(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from scoring.item_vectors import embed_catalogue
    from scoring.model_versions import model_directory

    ds, lake = day_of(args, "embed takes the catalogue of"), context.lake()
    return vars(embed_catalogue(lake, context.config, ds, model_directory(lake, args.model, ds)))


def run_report(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from scoring.report import write_report

    write_report(context.lake(), context.config, args.out)
    return {"report": str(args.out)}


def run_show_config(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from scoring.show_config import effective_values

    return {"values": effective_values(context.loaded)}


def run_demo(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from scoring.demo import run_demo as run_whole_job

    out = args.out or Path("scratch") / f"demo-{args.source}"
    return run_whole_job(context, args.source, out, args.events, args.seed)


def render(verb: str, result: dict[str, Any]) -> str:
    """A verb's result as text: tables where it holds some, otherwise one line per entry."""
    from scoring.terminal import lines_of, table_of

    if verb in ("evaluate", "demo"):
        return "\n".join(_evaluation_lines(verb, result))
    if verb == "ablate":
        return "\n".join(_ablation_lines(result))
    if verb in _TEXTS:
        return _TEXTS[verb](result)
    if verb == "score" and "parts" in result:
        from scoring.explain_text import explain_text

        return explain_text(result)
    if verb == "check" and "auc" in result:
        return "\n".join(_leak_lines(result))
    for key in ("steps", "built", "values", "written"):
        if verb in ("plan", "backfill", "show-config", "interactions", "ingest") and key in result:
            return table_of(result[key], empty=f"{verb}: nothing to show")
    if verb == "export" and "drift" in result:
        result = result | {"drift": _worst(result["drift"])}
    return lines_of(result)


def _runs_text(result: dict[str, Any]) -> str:
    from scoring.terminal import table_of

    return table_of(run_rows(result["runs"]), empty="no run is recorded")


def _monitor_text(result: dict[str, Any]) -> str:
    from scoring.terminal import lines_of

    # Days side by side: there are more figures than days.
    days = figure_rows(result["figures"])
    names = dict.fromkeys(name for day in days for name in day if name != "ds")
    rows = [{"figure": name, **{day["ds"]: day.get(name, "-") for day in days[-_SHOWN_DAYS:]}} for name in names]
    return lines_of({"days": result["days"], "figures": rows, "warnings": result["warnings"] or "none"})


def _maintain_text(result: dict[str, Any]) -> str:
    from scoring.terminal import lines_of

    mode = "a dry run: nothing was changed" if result["dry_run"] else "done"
    lines = {"maintain": mode, "tables": upkeep_rows(result["tables"])}
    if result["scored_parts"]:
        lines["files of killed scores"] = f"{result['scored_parts']} removed"
    return lines_of(lines | ({"folders that are not there": result["missing"]} if result["missing"] else {}))


_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "promote": registry_cli.promote_text,
    "models": registry_cli.models_text,
    "runs": _runs_text,
    "lineage": lineage_text,
    "monitor": _monitor_text,
    "maintain": _maintain_text,
    "package": package_cli.package_text,
}


def _worst(drift: dict[str, float]) -> dict[str, str]:
    """The features that moved most, in order."""
    order = sorted(drift, key=lambda name: (-drift[name], name))
    return {name: f"PSI {drift[name]:.4f}" for name in order[:_SHOWN_DRIFTS]}


def _evaluation_lines(verb: str, result: dict[str, Any]) -> list[str]:
    from models.table import cost_rows, difference_rows, metrics_rows, probability_rows, slice_rows
    from scoring.terminal import text_table

    pairs = zip(probability_rows(result), cost_rows(result), strict=True)
    blocks = [
        f"{result['requests']} requests of split '{result['split']}', 95 % bootstrap intervals over requests",
        text_table(metrics_rows(result)),
        text_table([quality + cost[1:] for quality, cost in pairs]),
        text_table(slice_rows(result)),
        text_table(difference_rows(result)),
    ]
    if result.get("note"):
        blocks.insert(0, result["note"])
    if verb == "demo":
        blocks += [
            f"lake    {result['lake']}\nmodel   {result['model']}\nreport  {result['report']}\n"
            f"wall    {result['seconds']['total']} s"
        ]
    return blocks


def _ablation_lines(result: dict[str, Any]) -> list[str]:
    from models.table import rung_difference_rows, rung_rows, total_words
    from scoring.terminal import text_table

    counts = " and ".join(f"{count} {split}" for split, count in result["requests"].items())
    blocks = [
        f"{counts} requests, {len(result['seeds'])} seeds: means, 95 % bootstrap intervals over requests, ±standard "
        f"deviation over seeds"
    ]
    for split in result["requests"]:
        blocks += [text_table(rung_rows(result, split)), text_table(rung_difference_rows(result, split))]
    return [*blocks, *(total_words(result, split) for split in result["requests"])]


_MOST_JUMPS = 15


def _leak_lines(result: dict[str, Any]) -> list[str]:
    """What ``check --leaks`` proved, and the features that a careless join would flatter most."""
    from scoring.terminal import text_table

    control, sample = result["control"], result["sample"]
    changed = dict(result["changed"])
    after = changed.pop("after_cut")
    kinds = ", ".join(f"{rows} {kind.replace('_', ' ')}" for kind, rows in changed.items())
    lines = [
        f"no feature before the cut knows what comes after it: {result['features_compared']} features of "
        f"{result['rows_compared']} rows did not move",
        f"days     {result['days']}, cut in {result['cut']}, seed {result['seed']}",
        f"sample   {sample['requests']} requests of {sample['queries']} queries ({sample['share']:.2%} of all)",
        f"changed  of {after} events after the cut {kinds}",
        f"control  {control['moved_rows']} of {control['rows']} rows after the cut moved, in "
        f"{control['moved_features']} features",
    ]
    if control["unmoved_features"]:
        lines.append(f"         never moved, so not tried: {', '.join(control['unmoved_features'])}")
    order = sorted(result["auc"].items(), key=lambda entry: -(entry[1]["jump"] or 0.0))
    rows = [[name, *(f"{one[key]:.3f}" for key in ("as_of", "naive", "jump"))] for name, one in order[:_MOST_JUMPS]]
    lines += [
        "",
        "AUC of a cross feature alone, as exported and as joined with the row's own day, which is a leak",
    ]
    lines.append(text_table([["feature", "as of", "naive", "jump"], *rows]))
    if result["suspicious"]:
        lines.append(f"suspicious, as exported they rank too well to be honest: {', '.join(result['suspicious'])}")
    return lines
