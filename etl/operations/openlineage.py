"""Records of runs as OpenLineage events, through the standard client and only where a transport is configured.

A run becomes a START and a COMPLETE (or FAIL) event, both sent when it is recorded. Datasets are named as the
OpenLineage naming rules have it: the file system is the namespace, the path the name. A lineage service that is down
is a warning: the tables are committed and recorded by then.
"""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from etl.contract.masking import HIDDEN, Masks, masked_text
from etl.contract.paths import local_part
from etl.operations.attempts import failure_of
from etl.runs import FAILED, RunRecord, pinned_inputs

NAMESPACE = "prerank"
PRODUCER = "prerank"

_FILE = "openlineage.yml"


def configured(env: Mapping[str, str], folders: Sequence[Path]) -> bool:
    """Whether the client would find a transport: an environment variable, or a file in one of ``folders``."""
    if env.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    names = any(env.get(name) for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG"))
    nested = any(name.startswith("OPENLINEAGE__TRANSPORT") for name in env)
    return names or nested or any((folder / _FILE).is_file() for folder in folders)


def emit(records: Sequence[RunRecord], root: str) -> None:
    """Send the events of records of the lake at ``root``; a warning where that fails."""
    if not records or not configured(os.environ, (Path.cwd(), Path.home() / ".openlineage")):
        return
    failure = failure_of(_send, records, root)
    if isinstance(failure, ImportError):
        warnings.warn(
            "OpenLineage is configured, but its client is not installed: pip install 'prerank[openlineage]'. "
            "No event was sent.",
            stacklevel=2,
        )
    elif failure is not None:
        warnings.warn(f"no OpenLineage event was sent: {Masks(os.environ)(str(failure))}", stacklevel=2)


def _send(records: Sequence[RunRecord], root: str) -> None:
    client = _client()
    by_run: dict[str, list[RunRecord]] = {}
    for record in records:
        by_run.setdefault(record.run_id, []).append(record)
    for of_run in by_run.values():
        for event in _events(of_run, root):
            client.emit(event)


@lru_cache(maxsize=1)
def _client() -> Any:
    from openlineage.client import OpenLineageClient

    return OpenLineageClient()


def _events(of_run: Sequence[RunRecord], root: str) -> list[Any]:
    """START and COMPLETE or FAIL of the records of one run."""
    from openlineage.client import event_v2 as v2
    from openlineage.client.facet_v2 import error_message_run

    first, last = of_run[0], max(record.finished_at for record in of_run)
    failed = first.status == FAILED
    facets: dict[str, Any] = {}
    if failed:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(first.error or "", "PYTHON")
    namespace = os.environ.get("OPENLINEAGE_NAMESPACE", NAMESPACE)
    common: dict[str, Any] = {
        "job": v2.Job(namespace, first.job),
        "inputs": _inputs(first, root),
        "outputs": [] if failed else [_output(record, root) for record in of_run],
        "producer": PRODUCER,
    }
    run_id = str(UUID(first.run_id))
    ended = v2.RunState.FAIL if failed else v2.RunState.COMPLETE
    return [
        v2.RunEvent(
            eventTime=_time(first.started_at), eventType=v2.RunState.START, run=v2.Run(run_id), **common
        ),
        v2.RunEvent(eventTime=_time(last), eventType=ended, run=v2.Run(run_id, facets), **common),
    ]  # fmt: skip


def _inputs(record: RunRecord, root: str) -> list[Any]:
    from openlineage.client import event_v2 as v2

    pinned = pinned_inputs(record.inputs)
    found = [
        v2.InputDataset(*dataset_name(f"{root}/{name}"), facets={"version": _version(version)})
        for name, version in pinned.items()
    ]
    if record.raw is not None:
        place = dataset_name(os.path.abspath(record.raw.path) if "://" not in record.raw.path else record.raw.path)
        found.append(v2.InputDataset(*place, facets={"version": _version(record.raw.digest)}))
    return found


def _output(record: RunRecord, root: str) -> Any:
    from openlineage.client import event_v2 as v2
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    return v2.OutputDataset(
        *dataset_name(f"{root}/{record.table}"),
        facets={"version": _version(record.output_version)},
        outputFacets={"outputStatistics": statistics.OutputStatisticsOutputDatasetFacet(rowCount=record.rows_out)},
    )


def _version(version: int | str | None) -> Any:
    from openlineage.client.facet_v2 import dataset_version_dataset

    return dataset_version_dataset.DatasetVersionDatasetFacet(str(version))


def dataset_name(uri: str) -> tuple[str, str]:
    """(namespace, name) of a path: ``s3://bucket`` and ``lake/events``, or ``file`` and ``/lake/events``.

    Without the user part of a URI, which may hold a password.
    """
    uri = masked_text(uri).replace(f"{HIDDEN}@", "")
    scheme = re.match(r"(\w[\w+.-]*)://([^/]+)/(.*)", uri)
    if scheme is None:
        return "file", local_part(uri)
    kind = "s3" if scheme[1] in ("s3a", "s3n") else scheme[1]
    return f"{kind}://{scheme[2]}", scheme[3]


def _time(at: datetime) -> str:
    return at.isoformat()
