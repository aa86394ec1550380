"""What Spark's event log says about stages, executors and the resources that they had."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONF = {
    "spark.eventLog.enabled": "true",
    "spark.eventLog.rolling.enabled": "false",
    "spark.eventLog.compress": "false",
}


@dataclass(frozen=True)
class Stage:
    """One attempt at a stage."""

    number: int
    attempt: int
    operators: frozenset[str]
    """Names of the physical operators that took part in it."""
    profile: int

    @property
    def prepares(self) -> bool:
        """Whether it reads, joins or aggregates: work that needs no GPU."""
        return any(name.endswith(("Join", "Aggregate")) or name.startswith("Scan") for name in self.operators)


@dataclass(frozen=True)
class EventLog:
    events: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["Event"] == f"SparkListener{kind}"]

    @property
    def stages(self) -> list[Stage]:
        """Those that were finished or given up, by number and attempt."""
        infos = [event["Stage Info"] for event in self.of("StageCompleted")]
        found = [
            Stage(info["Stage ID"], info["Stage Attempt ID"], _operators(info), info["Resource Profile Id"])
            for info in infos
        ]
        return sorted(found, key=lambda stage: (stage.number, stage.attempt))

    def task_gpus(self, profile: int) -> float:
        """GPUs that a task of a profile holds."""
        return self._amount(profile, "Task Resource Requests")

    def executor_gpus(self, profile: int) -> float:
        """GPUs that an executor started for a profile holds."""
        return self._amount(profile, "Executor Resource Requests")

    def _amount(self, profile: int, requests: str) -> float:
        [added] = [one for one in self.of("ResourceProfileAdded") if one["Resource Profile Id"] == profile]
        return float(added[requests].get("gpu", {"Amount": 0})["Amount"])

    @property
    def executors(self) -> dict[str, int]:
        """Executor -> its profile."""
        return {one["Executor ID"]: one["Executor Info"]["Resource Profile Id"] for one in self.of("ExecutorAdded")}

    def executors_of(self, stage: int) -> set[str]:
        """Where the tasks of a stage ran."""
        return {one["Task Info"]["Executor ID"] for one in self.of("TaskEnd") if one["Stage ID"] == stage}


def read_log(folder: Path) -> EventLog:
    """The only application's log in a folder."""
    [file] = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return EventLog([json.loads(line) for line in file.read_text().splitlines()])


def _operators(info: dict[str, Any]) -> frozenset[str]:
    scopes = [json.loads(rdd["Scope"])["name"] for rdd in info["RDD Info"] if "Scope" in rdd]
    return frozenset(name.strip() for name in scopes)
