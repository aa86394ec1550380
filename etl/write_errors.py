"""Why a table could not be written: others write it, or a commit is not what was computed."""

from etl.contract.dates import DateRange
from etl.contract.errors import PrerankError


class WriteVerificationError(PrerankError):
    """A commit holds another number of rows than was computed."""

    retryable = True

    def __init__(self, table: str, days: DateRange, computed: int, found: int):
        self.table, self.days, self.computed, self.found = table, days, computed, found
        super().__init__(table, days, computed, found)

    def __str__(self) -> str:
        return (
            f"table '{self.table}', {self.days}: {self.computed} rows were computed, {self.found} stand in the table. "
            "Run the same command again; if it repeats, the input changed while it was read."
        )


class WriteConflictError(PrerankError):
    """Other jobs kept committing to the days that this one writes."""

    retryable = True

    def __init__(self, table: str, winner: str, attempts: int):
        self.table, self.winner, self.attempts = table, winner, attempts
        super().__init__(table, winner, attempts)

    def __str__(self) -> str:
        return (
            f"table '{self.table}': {self.winner} committed the same days first, and so went {self.attempts} attempts. "
            "What it wrote stands. When it has ended (see prerank runs), run the same command again; jobs of "
            "overlapping days belong one after the other."
        )


class ChangedMeanwhileError(PrerankError):
    """Days that a job adds to were written by another one since it read them."""

    retryable = True

    def __init__(self, table: str, days: DateRange, read: int, winner: str):
        self.table, self.days, self.read, self.winner = table, days, read, winner
        super().__init__(table, days, read, winner)

    def __str__(self) -> str:
        return (
            f"table '{self.table}', {self.days}: {self.winner} wrote these days after this job had read version "
            f"{self.read}. What it would write knows nothing of that, so nothing was changed here: run the same "
            "command again."
        )


class LostCommitError(PrerankError):
    """A commit that Delta has confirmed is not in the table's log."""

    retryable = True

    def __init__(self, table: str, path: str, run_id: str):
        self.table, self.path, self.run_id = table, path, run_id
        super().__init__(table, path, run_id)

    def __str__(self) -> str:
        return (
            f"table '{self.table}': no entry of {self.path}/_delta_log is of run {self.run_id}, which has just "
            "committed. Another program wrote over it or removed it: see that nothing but prerank writes there, and "
            "run the same command again."
        )


class TableBusyError(PrerankError):
    """Another process of this host writes the table, for longer than anybody waits."""

    retryable = True

    def __init__(self, table: str, holder: str, seconds: int):
        self.table, self.holder, self.seconds = table, holder, seconds
        super().__init__(table, holder, seconds)

    def __str__(self) -> str:
        return (
            f"table '{self.table}' has been written by {self.holder} for {self.seconds} s. Nothing was changed here. "
            "Run the same command again when it has ended, or end it if it hangs: what it committed stands."
        )
