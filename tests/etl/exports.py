"""An export with its indices resolved: what a trainer would see of each row, by request and item."""

import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from etl.arrow_files import open_arrow
from etl.contract.manifest import HISTORIES_FILE, ITEMS_FILE, QUERIES_FILE, QUERY_ITEMS_FILE, read_manifest


def opened(directory: Path) -> dict[tuple[int, str], dict[str, Any]]:
    """(request hash, item_id) -> the row with query, item, history, segments and cross by their names."""
    manifest = read_manifest(directory)
    items = open_arrow(directory / ITEMS_FILE).to_pylist()
    queries = open_arrow(directory / QUERIES_FILE).to_pylist()
    histories = open_arrow(directory / HISTORIES_FILE).to_pylist()
    best = open_arrow(directory / QUERY_ITEMS_FILE).to_pylist()
    assert len(best) == manifest.query_items
    assert (len(items), len(queries), len(histories)) == (manifest.items, manifest.queries, manifest.users)
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for shard in manifest.shards:
        for row in pq.read_table(directory / shard.path, partitioning=None).to_pylist():
            history, end = histories[row["user"]], row["history_end"]
            first = max(0, end - manifest.history_length)
            oldest = row["ts"] - row["ts"] % 86_400 - 86_400 * manifest.history_days
            entries = zip(*(history[name][first:end] for name in ("items", "actions", "ts")), strict=True)
            seen = [entry for entry in entries if entry[2] >= oldest]
            listed = best[row["query_items"]]["items"] if row["query_items"] >= 0 else []
            plain = {name: row[name] for name in ("ds", "ts", "labels", "position", "weight", "oracle")}
            item = items[row["item"]]
            rows[row["request"], item["item_id"]] = plain | {
                "split": shard.split,
                "item": {name: without_nan(value) for name, value in item.items()},
                "query_key": queries[row["query"]]["query_key"],
                "history": [(items[i]["item_id"], items[i]["text"], manifest.actions[a], ts) for i, a, ts in seen],
                "query_items": [(items[i]["item_id"], items[i]["text"]) for i in listed],
                "segments": {
                    name: values[index]
                    for (name, values), index in zip(manifest.segments.items(), row["segments"], strict=True)
                    if index
                },
                "cross": dict(zip(manifest.cross, row["cross"], strict=True)),
                "request": row["request"],
            }
    assert len(rows) == manifest.rows
    return rows


def without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def features(row: dict[str, Any]) -> dict[str, Any]:
    """What a model may see of a row."""
    return {
        name: row[name] for name in ("ds", "ts", "item", "query_key", "history", "query_items", "segments", "cross")
    }
