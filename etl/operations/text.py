"""The audit trail in a terminal."""

from typing import Any

from etl.contract.printable import one_line
from etl.operations.config import PSI

_SHOWN_FILES = 3


def run_rows(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per record for a table; what is in JSON only are hashes and lists of files."""
    return [
        {
            "finished": run["finished_at"][:19].replace("T", " "),
            "job": run["job"],
            "status": run["status"],
            "table": run["table"] or "-",
            "days": _days(run["ds"], run["end_ds"]) or "-",
            "version": "-" if run["output_version"] is None else run["output_version"],
            "in": run["rows_in"],
            "out": run["rows_out"],
            "rejected": run["rows_rejected"],
            "from": ", ".join(run["inputs"]) or "-",
            "error": run["error"] or "",
        }
        for run in runs
    ]


def figure_rows(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per day, figures as columns; of PSI the largest only, as there is one per feature."""
    days: dict[str, dict[str, Any]] = {}
    for one in figures:
        row = days.setdefault(one["ds"], {"ds": one["ds"]})
        if one["metric"] != PSI:
            row[f"{one['metric']}.{one['part']}".rstrip(".")] = one["value"]
        elif one["value"] >= row.get("largest psi", 0.0):
            row["largest psi"], row["of"] = one["value"], one["part"]
    return list(days.values())


def upkeep_rows(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per table, with the versions that are kept and the first that needs each."""
    return [
        {
            "table": one["table"],
            "days dropped": one["dropped"] or "-",
            "days clustered": ", ".join(one["optimized"]) or "-",
            "files removed": one["removed_files"],
            "bytes": one["removed_bytes"],
            "versions kept": ", ".join(f"{version} ({who[0]})" for version, who in one["kept_versions"].items()) or "-",
            "lost before": ", ".join(map(str, one["lost_versions"])) or "-",
        }
        for one in tables
    ]


def lineage_text(tree: dict[str, Any]) -> str:
    """A tree of etl.operations.lineage, one line per node."""
    return "\n".join([one_line(_label(tree)), *_below(tree, "")])


def _below(node: dict[str, Any], indent: str) -> list[str]:
    lines = []
    children = [*node.get("from", []), *_files(node)]
    for place, child in enumerate(children):
        last = place == len(children) - 1
        lines.append(f"{indent}{'└─ ' if last else '├─ '}{one_line(_label(child))}")
        lines += _below(child, indent + ("   " if last else "│  "))
    return lines


def _files(node: dict[str, Any]) -> list[dict[str, Any]]:
    files = [{"kind": "file", **file} for file in node.get("listed", [])]
    more = node.get("files", 0) - _SHOWN_FILES
    return files if more <= 0 else [*files[:_SHOWN_FILES], {"kind": "more", "count": more}]


def _label(node: dict[str, Any]) -> str:
    kind = node["kind"]
    if kind == "table":
        return " ".join([f"{node['table']}@{node['version']}", *([node["days"]] if "days" in node else [])])
    if kind == "run":
        done = (
            f"{node['job']} {node['days']}, {node['rows']} rows, {node['finished_at'][:19]}, run {node['run_id'][:8]}"
        )
        return f"{done} (above)" if node.get("repeated") else done
    if kind == "file":
        return f"{node['path']} {node['bytes']} bytes, {node['modified_at'][:19]}"
    if kind == "more":
        return f"and {node['count']} more"
    if kind == "raw" and "files" in node:
        return f"{node['path']} {node['files']} files, {node['bytes']} bytes, listing {node['digest']}"
    if kind == "raw":
        return node["path"]
    return f"{kind} {node['path']} {node.get('days', '')}".rstrip() + (" (above)" if node.get("repeated") else "")


def _days(start: str, end: str) -> str:
    return start if start == end else f"{start}..{end}"
