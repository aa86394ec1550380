"""Errors as the operators word them; imported in a process of its own, like all of Airflow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

JUDGE = """
import json, sys
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from dags.operators import PromoteOperator, SparkSubmitOperator
from dags.rules import FailAtOnceOnTerminalExitCodes, skip_without

def action(message):
    return FailAtOnceOnTerminalExitCodes().evaluate(AirflowException(message), 1, 2).action.value

def runs(params):
    try:
        skip_without("items")({"params": params})
    except AirflowSkipException:
        return False
    return True

def promotion(message):
    def execute(self, context):
        raise AirflowException(message)

    SparkSubmitOperator.execute = execute
    try:
        PromoteOperator.execute(PromoteOperator(task_id="promote"), {})
    except AirflowException as error:
        return type(error).__name__

messages = json.loads(sys.argv[1])
empty, given = runs({"items": ""}), runs({"items": "x"})
print(json.dumps([list(map(action, messages)), list(map(promotion, messages[:3])), empty, given]))
"""

SUBMIT = "Cannot execute: spark-submit main.py check. Error code is: {}."
BASH = "Bash command failed. The command returned a non-zero exit code {}."
KUBERNETES = "Cannot execute: spark-submit main.py. Error code is: 1. Kubernetes spark exit code is: {}"
YARN = "YARN application a_1 ended with final status: FAILED\nDiagnostics: User application exited with status {}"
FAILURES = [
    (SUBMIT.format(3), "fail"),
    (SUBMIT.format(2) + "\nLast spark-submit output:\nprerank: unknown flag", "fail"),
    (SUBMIT.format(1) + "\nLast spark-submit output:\nexit code 3", "default"),
    (BASH.format(2), "fail"),
    (BASH.format(137), "default"),
    (KUBERNETES.format(3), "fail"),
    (KUBERNETES.format(1), "default"),
    (YARN.format(3), "fail"),
    (YARN.format(1), "default"),
    ("Driver driver-1 exited with status FAILED", "default"),
]


@pytest.mark.airflow
def test_usage_errors_and_gates_are_not_retried_refusals_and_empty_params_skip(airflow_env: dict[str, str]) -> None:
    messages = json.dumps([message for message, _ in FAILURES])
    command = [sys.executable, "-c", JUDGE, messages]
    done = subprocess.run(command, env=airflow_env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    actions, promotions, without_items, with_items = json.loads(done.stdout.splitlines()[-1])
    assert actions == [action for _, action in FAILURES]
    assert promotions == ["AirflowSkipException", "AirflowException", "AirflowException"]
    assert (without_items, with_items) == (False, True)
