"""The DAG ``prerank_interactions``: one day of the log, once it has ended -> tables -> interactions -> quality gates.

What lands is told as assets with the day as partition: ``prerank_scoring`` waits for them. Days anew, one run each:
``airflow backfill create --dag-id prerank_interactions --from-date 2026-01-04 --to-date 2026-01-08T23
--max-active-runs 1`` (a day's partition stands at the hour of the schedule, so that the last day needs an hour behind
it; without the limit, days of one lake would run side by side).

Its environment variables are listed in ``settings.py`` beside this file.
"""

from airflow.sdk import DAG, CronPartitionTimetable

try:
    from dags import assets, settings
    from dags import commands as c
    from dags.operators import submit
    from dags.rules import skip_without
except ImportError:
    # Not installed here: Airflow has put this folder itself on sys.path.
    import assets  # type: ignore[import-not-found, no-redef]
    import commands as c  # type: ignore[import-not-found, no-redef]
    import settings  # type: ignore[import-not-found, no-redef]
    from operators import submit  # type: ignore[import-not-found, no-redef]
    from rules import skip_without  # type: ignore[import-not-found, no-redef]

START, CATCH_UP = settings.first_day()

with DAG(
    dag_id="prerank_interactions",
    description="One day of the log -> events, items, candidates -> interactions -> quality gates",
    # The day of a run is the one that has ended when it starts.
    schedule=CronPartitionTimetable(
        settings.given("DAILY_CRON") or "0 2 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"
    ),
    start_date=START,
    catchup=CATCH_UP,
    params={
        "source": settings.text("SOURCE", "How the raw data is laid out.", "parquet"),
        "events": settings.text("EVENTS", "The raw log; {ds} stands for the day."),
        "items": settings.text("ITEMS", "The day's catalogue; empty: the lake keeps the one that it has."),
        "candidates": settings.text("CANDIDATES", "The day's candidate sets; empty: there are none."),
    },
    doc_md=__doc__,
    **settings.common(),
) as dag:
    ingested = [
        submit(c.INGEST_EVENTS, c.ingest("events"), lands=assets.EVENTS),
        submit(c.INGEST_ITEMS, c.ingest("items"), lands=assets.ITEMS, pre_execute=skip_without("items")),
        submit(
            c.INGEST_CANDIDATES,
            c.ingest("candidates"),
            lands=assets.CANDIDATES,
            pre_execute=skip_without("candidates"),
        ),
    ]
    # Catalogue and candidates may be left out.
    interactions = submit(c.INTERACTIONS, c.interactions(), trigger_rule="none_failed")
    # Who waits for the day waits for its gates too.
    check = submit(c.CHECK, c.check(), lands=assets.INTERACTIONS, writes=False)
    ingested >> interactions >> check
