"""What each task of a day says to the program: its argument list, with Jinja that Airflow fills in for the run.

Pure functions over strings. The day is always ``{{ ds }}``; paths and names come from the DAG's params.
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
SCORE = "score"

BASELINE = "bm25"
"""Evaluated beside the day's model; it needs no training."""

_DS = "{{ ds }}"
_MODEL = "{{ params.model }}"
_DATA = "{{ params.exports }}/{{ ds }}"
_MODELS_ROOT = "{{ params.models }}/{{ ds }}"


def ingest(table: str) -> list[str]:
    """Raw data of one day -> ``table``; the param of the same name is its path, where ``{ds}`` stands for the day."""
    path = f"{{{{ params.{table} | replace('{{ds}}', ds) }}}}"
    return ["ingest", "--table", table, "--source", "{{ params.source }}", "--input", path, "--ds", _DS]


def interactions() -> list[str]:
    return ["interactions", "--ds", _DS]


def check() -> list[str]:
    return ["check", "--ds", _DS]


def export() -> list[str]:
    """The last ``params.days`` days up to and with the run's own, into the export directory of the day."""
    start = "{{ macros.ds_add(ds, 1 - params.days) }}"
    return ["export", "--start-ds", start, "--end-ds", _DS, "--out", _DATA]


def train() -> list[str]:
    return ["train", "--data", _DATA, "--model", _MODEL, *_models_of_the_day()]


def evaluate() -> list[str]:
    return ["evaluate", "--data", _DATA, "--models", f"{BASELINE},{_MODEL}", *_models_of_the_day()]


def score() -> list[str]:
    return ["score", "--ds", _DS, "--model", f"{_MODELS_ROOT}/{_MODEL}"]


def shell_line(arguments: Sequence[str]) -> str:
    """A bash line that runs the program; whatever the Jinja renders to stays one word each.

    Needs the Jinja filter ``quote`` (shlex.quote) in the DAG.
    """
    words = [f"{{% filter quote %}}{argument}{{% endfilter %}}" for argument in arguments]
    return " ".join(["exec", "prerank", *words])


def _models_of_the_day() -> list[str]:
    return ["--set", f"train.models_root={_MODELS_ROOT}"]
