"""The DAG ``prerank_training``: the last days -> export -> model -> metrics -> champion, once a week unless told else.

The model of day D competes for the days from D+1 on. A refused promotion leaves its task skipped and the run a success.

Its environment variables are listed in ``settings.py`` beside this file.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

try:
    from dags import assets, settings
    from dags import commands as c
    from dags.operators import PromoteOperator, run, submit
except ImportError:
    # Not installed here: Airflow has put this folder itself on sys.path.
    import assets  # type: ignore[import-not-found, no-redef]
    import commands as c  # type: ignore[import-not-found, no-redef]
    import settings  # type: ignore[import-not-found, no-redef]
    from operators import PromoteOperator, run, submit  # type: ignore[import-not-found, no-redef]

START, CATCH_UP = settings.first_day()
EXECUTORS = settings.whole("TRAINING_EXECUTORS", 0)

with DAG(
    dag_id="prerank_training",
    description="The last days -> export -> model -> metrics -> champion",
    # However far apart the runs are, the day of each is the one before it.
    schedule=CronTriggerTimetable(
        settings.given("TRAINING_CRON") or "0 6 * * 1", timezone="UTC", interval=timedelta(days=1)
    ),
    start_date=START,
    catchup=CATCH_UP,
    params={
        "exports": settings.text("EXPORTS", "Exports go to {this}/{ds}.", "./exports"),
        "models": settings.text("MODELS", "Models go to {this}/{ds}/{model}.", "./trained"),
        "model": settings.text("MODEL", "two_tower, interactrank, ...", "interactrank"),
        "days": Param(settings.whole("DAYS", 14), type="integer", minimum=3, description="Days per export."),
        "label_days": Param(
            settings.whole("LABEL_DAYS", 0), type="integer", minimum=0, description="As export.label_window_days."
        ),
    },
    doc_md=__doc__,
    **settings.common(),
) as dag:
    export = submit(c.EXPORT, c.export(), writes=False)
    if EXECUTORS:
        profile = settings.given("TRAINING_PROFILE")
        train = submit(c.TRAIN, c.train(EXECUTORS), writes=False, profile=profile)
    else:
        train = run(c.TRAIN, c.train())
    evaluate = run(c.EVALUATE, c.evaluate())
    promote = submit(c.PROMOTE, c.promote(), lands=assets.MODELS, operator=PromoteOperator)
    export >> train >> evaluate >> promote
