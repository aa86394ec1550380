"""What each task says to the program: its argument list, with Jinja that Airflow fills in for the run.

Pure functions over strings. The day is always ``DAY``; paths and names come from the DAG's params.
"""

from collections.abc import Sequence

INGEST_EVENTS = "ingest_events"
INGEST_ITEMS = "ingest_items"
INGEST_CANDIDATES = "ingest_candidates"
INTERACTIONS = "interactions"
CHECK = "check"
EXPORT = "export"
TRAIN = "train"
EVALUATE = "evaluate"
PROMOTE = "promote"
EMBED = "embed"
CANDIDATES = "candidates"
SCORE = "score"
REPORT = "report"
PLAN = "plan"
BACKFILL = "backfill"

BASELINE = "bm25"
"""Evaluated beside the day's model; it needs no training."""

FROM_EVENTS = "events"
"""Of PRERANK_RETRIEVE: requests of the day's events get candidates too."""

_DAY = "(partition_key or ds)"
DAY = f"{{{{ {_DAY} }}}}"
"""The day of a run: its partition where it has one (cron, asset, backfill), else its logical date. A run with neither
fails: there is no newest day to fall back on."""

_MODEL = "{{ params.model }}"
_DATA = f"{{{{ params.exports }}}}/{DAY}"
_MODELS_ROOT = f"{{{{ params.models }}}}/{DAY}"
_SCORED_BY = "{{ params.scored_by }}"


def ingest(table: str) -> list[str]:
    """Raw data of one day -> ``table``; the param of the same name is its path, where ``{ds}`` stands for the day."""
    # Not params.items: that would be the method of the dictionary.
    path = f"{{{{ params['{table}'] | replace('{{ds}}', {_DAY}) }}}}"
    return ["ingest", "--table", table, "--source", "{{ params.source }}", "--input", path, "--ds", DAY]


def interactions() -> list[str]:
    return ["interactions", "--ds", DAY]


def check() -> list[str]:
    return ["check", "--ds", DAY]


def export() -> list[str]:
    """The last ``params.days`` days whose labels are known on the run's own, into the export directory of the day."""
    start = f"{{{{ macros.ds_add({_DAY}, 1 - params.days - params.label_days) }}}}"
    end = f"{{{{ macros.ds_add({_DAY}, -params.label_days) }}}}"
    return ["export", "--start-ds", start, "--end-ds", end, "--out", _DATA]


def train(executors: int = 0) -> list[str]:
    """``executors`` processes on Spark executors; 0: one process, no Spark."""
    spread = ["--executors", str(executors)] if executors else []
    return ["train", "--data", _DATA, "--model", _MODEL, *spread, *_models_root(_MODELS_ROOT)]


def evaluate() -> list[str]:
    return ["evaluate", "--data", _DATA, "--models", f"{BASELINE},{_MODEL}", *_models_root(_MODELS_ROOT)]


def promote() -> list[str]:
    """The day's model against the champion of the next day: scores of its own day may have been made already."""
    next_day = f"{{{{ macros.ds_add({_DAY}, 1) }}}}"
    model = ["--model", f"{_MODELS_ROOT}/{_MODEL}", "--data", _DATA, "--ds", next_day]
    return ["promote", *model, *_models_root("{{ params.models }}")]


def embed() -> list[str]:
    return ["embed", "--ds", DAY, "--model", _SCORED_BY]


def candidates(retrieve: str) -> list[str]:
    """Items for candidate sets that came without; for ``FROM_EVENTS``, sets for the day's other requests as well."""
    also = ["--from-events"] if retrieve == FROM_EVENTS else []
    return ["candidates", "--ds", DAY, "--model", _SCORED_BY, *also]


def score() -> list[str]:
    return ["score", "--ds", DAY, "--model", _SCORED_BY]


def report() -> list[str]:
    """It finds the newest day's evaluation below the folder of all days' models."""
    return ["report", "--out", f"{{{{ params.reports }}}}/{DAY}.html", *_models_root("{{ params.models }}")]


def plan() -> list[str]:
    return ["plan", "--start-ds", "{{ params.start_ds }}", "--end-ds", "{{ params.end_ds }}"]


def backfill(days: Sequence[str]) -> list[str]:
    """Of a chunk: its days, all in a row."""
    return ["backfill", *_range(days)]


def ingest_days(table: str, source: str, path: str, days: Sequence[str]) -> list[str]:
    """As ``ingest``, for the days of a chunk at once: in ``path``, ``{ds}`` stands for any of them (a glob).

    Ingest refuses such a glob unless it finds something for each of the days.
    """
    any_of = days[0] if len(days) == 1 else f"{{{','.join(days)}}}"
    return ["ingest", "--table", table, "--source", source, "--input", path.replace("{ds}", any_of), *_range(days)]


def with_profile(arguments: Sequence[str], profile: str) -> list[str]:
    """``arguments`` under a Spark profile; an empty one leaves it to the configuration."""
    return [*arguments, *(["--set", f"spark.profile={profile}"] if profile else [])]


def shell_line(arguments: Sequence[str]) -> str:
    """A bash line that runs the program; whatever the Jinja renders to stays one word each.

    Needs the Jinja filter ``quote`` (shlex.quote) in the DAG.
    """
    words = [f"{{% filter quote %}}{argument}{{% endfilter %}}" for argument in arguments]
    return " ".join(["exec", "prerank", *words])


def _range(days: Sequence[str]) -> list[str]:
    return ["--start-ds", days[0], "--end-ds", days[-1]]


def _models_root(folder: str) -> list[str]:
    return ["--set", f"train.models_root={folder}"]
