"""The DAG ``prerank_scoring``: a day's candidate sets, ranked by the day's champion, as soon as its inputs landed.

Its inputs are the day's interactions and candidates; with PRERANK_RETRIEVE=events, whose requests come from the log,
the interactions alone.

Its environment variables are listed in ``settings.py`` beside this file.
"""

from itertools import pairwise

from airflow.sdk import DAG, PartitionedAssetTimetable

try:
    from dags import assets, settings
    from dags import commands as c
    from dags.operators import submit
except ImportError:
    # Not installed here: Airflow has put this folder itself on sys.path.
    import assets  # type: ignore[import-not-found, no-redef]
    import commands as c  # type: ignore[import-not-found, no-redef]
    import settings  # type: ignore[import-not-found, no-redef]
    from operators import submit  # type: ignore[import-not-found, no-redef]

RETRIEVE = settings.given("RETRIEVE")
PROFILE = settings.given("SCORING_PROFILE")
INPUTS = assets.INTERACTIONS if RETRIEVE == c.FROM_EVENTS else assets.INTERACTIONS & assets.CANDIDATES

with DAG(
    dag_id="prerank_scoring",
    description="A day's candidate sets, ranked by its champion -> scores, report",
    schedule=PartitionedAssetTimetable(assets=INPUTS),
    params={
        "scored_by": settings.text("SCORED_BY", "champion, or a model directory.", "champion"),
        "models": settings.text("MODELS", "prerank_training puts models into {this}/{ds}.", "./trained"),
        "reports": settings.text("REPORTS", "Reports go to {this}/{ds}.html.", "./reports"),
    },
    doc_md=__doc__,
    **settings.common(),
) as dag:
    tasks = [submit(c.EMBED, c.embed(), profile=PROFILE)]
    if RETRIEVE:
        tasks.append(submit(c.CANDIDATES, c.candidates(RETRIEVE), profile=PROFILE))
    tasks.append(submit(c.SCORE, c.score(), lands=assets.SCORES, profile=PROFILE))
    tasks.append(submit(c.REPORT, c.report(), writes=False))
    for before, after in pairwise(tasks):
        before >> after
