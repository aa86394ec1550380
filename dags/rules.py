"""When a task is not retried, and when it is not run at all."""

import re
from collections.abc import Callable
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowSkipException

#: Of the program: a wrong command line or configuration, a quality gate. The same command would end alike.
USAGE, GATE = 2, 3
TERMINAL = {USAGE: "wrong usage or configuration", GATE: "stopped by a quality gate"}

# What SparkSubmitOperator and BashOperator say of a failed process; under Kubernetes the driver's own code follows, and
# YARN's diagnostics speak of an application that ran in cluster mode.
_EXIT_CODE = re.compile(
    r"(?:Error code is: \d+\. Kubernetes spark exit code is: |Error code is: |non-zero exit code "
    r"|User application exited with status )(\d+)"
)


def exit_code(error: BaseException) -> int | None:
    """The exit code that an operator's error speaks of; None where it knows of none."""
    told = _EXIT_CODE.search(str(error))
    return int(told.group(1)) if told else None


class FailAtOnceOnTerminalExitCodes(RetryPolicy):
    """Exit codes 2 and 3 end the task; any other failure keeps the task's own retries."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        code = exit_code(exception)
        if code in TERMINAL:
            return RetryDecision.fail(reason=f"exit code {code}, {TERMINAL[code]}: a retry would end alike")
        return RetryDecision.default()


def skip_without(param: str) -> Callable[[Any], None]:
    """A ``pre_execute`` hook that skips the task in runs where ``param`` is empty."""

    def skip(context: Any) -> None:
        if not context["params"].get(param):
            raise AirflowSkipException(f"params.{param} is empty: nothing to do")

    return skip
