"""The DAG ``prerank_backfill``: tables of a range of days anew, in chunks of days. It is started by hand.

``tables`` names what is made anew: ``events`` and ``candidates`` from their raw data, ``interactions`` where ``plan``
finds days missing or stale. One task builds one chunk of one table, one after the other unless PRERANK_PARALLEL says
more. Nobody is told that days landed: scores stay as they are. The other way is ``airflow backfill create --dag-id
prerank_interactions --max-active-runs 1``, a run for each day, after which each day is scored.

Its environment variables are listed in ``settings.py`` beside this file.
"""

from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowFailException

try:
    from dags import commands as c
    from dags import settings
    from dags.chunks import chunks
    from dags.operators import configured, spark_options, submit
except ImportError:
    # Not installed here: Airflow has put this folder itself on sys.path.
    import commands as c  # type: ignore[import-not-found, no-redef]
    import settings  # type: ignore[import-not-found, no-redef]
    from chunks import chunks  # type: ignore[import-not-found, no-redef]
    from operators import configured, spark_options, submit  # type: ignore[import-not-found, no-redef]

TABLES = ["events", "candidates", "interactions"]
DAY = {"type": "string", "format": "date"}


@task
def chunk(table: str, params: Any = None) -> list[list[str]]:
    """The command of each chunk of ``table``; none where the run does not ask for the table."""
    if table not in params["tables"]:
        return []
    try:
        found = chunks(params["start_ds"], params["end_ds"], params["chunk_days"])
    except ValueError as error:
        raise AirflowFailException(str(error)) from error
    if table == c.INTERACTIONS:
        return [configured(c.backfill(days)) for days in found]
    return [configured(c.ingest_days(table, params["source"], params[table], days)) for days in found]


def built(task_id: str, table: str) -> Any:
    """A task for each chunk of ``table``."""
    mapped = SparkSubmitOperator.partial(
        max_active_tis_per_dag=settings.whole("PARALLEL", 1),
        trigger_rule="none_failed",
        **spark_options(task_id, writes=True),
    )
    return mapped.expand(application_args=chunk.override(task_id=f"chunks_of_{table}")(table))


with DAG(
    dag_id="prerank_backfill",
    description="Tables of a range of days anew, in chunks of days",
    schedule=None,
    params={
        "tables": Param(["interactions"], type="array", items={"enum": TABLES}, minItems=1, examples=TABLES),
        "start_ds": Param(**DAY, description="The first day."),
        "end_ds": Param(**DAY, description="The last day; it belongs to the range."),
        "chunk_days": Param(14, type="integer", minimum=1, description="Days that one task builds."),
        "source": settings.text("SOURCE", "How the raw data is laid out.", "parquet"),
        "events": settings.text("EVENTS", "The raw log; {ds} stands for the day."),
        "candidates": settings.text("CANDIDATES", "The candidate sets; {ds} stands for the day."),
    },
    doc_md=__doc__,
    **settings.common(),
) as dag:
    ingested = [built(c.INGEST_EVENTS, "events"), built(c.INGEST_CANDIDATES, "candidates")]
    plan = submit(c.PLAN, c.plan(), writes=False, trigger_rule="none_failed")
    ingested >> plan >> built(c.BACKFILL, "interactions")
