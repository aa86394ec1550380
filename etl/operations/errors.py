"""Failures of monitoring and maintenance."""

from etl.contract.errors import PrerankError


class DamagedReferenceError(PrerankError):
    """A manifest or model card that should name table versions cannot be read."""

    def __init__(self, path: str, problem: str):
        self.path, self.problem = path, problem
        super().__init__(path, problem)

    def __str__(self) -> str:
        return (
            f"{self.path} is damaged ({self.problem}), so what it was made from is not known. Nothing was removed. "
            "Make it again, or take its folder away"
        )


class UnknownVersionError(PrerankError):
    """Which files a version holds that has to stay readable cannot be told, though the version may be there."""

    def __init__(self, table: str, version: int, who: list[str], problem: str):
        self.table, self.version, self.who, self.problem = table, version, who, problem
        super().__init__(table, version, who, problem)

    def __str__(self) -> str:
        return (
            f"which files version {self.version} of '{self.table}' holds cannot be told ({self.problem}), and "
            f"{', '.join(self.who)} needs it. Nothing was removed. Run it again when the storage answers; if the "
            "table's log is damaged, restore it, or take away what needs the version"
        )


class UnknownRunError(PrerankError):
    """No run is recorded that wrote a day of a table."""

    def __init__(self, table: str, ds: str, where: str):
        self.table, self.ds, self.where = table, ds, where
        super().__init__(table, ds, where)

    def __str__(self) -> str:
        return f"no run has written {self.ds} of '{self.table}' ({self.where}). See: prerank runs --table {self.table}"


class MonitoringGateError(PrerankError):
    """A monitored figure broke its gate (exit code 3); the figures were recorded before."""

    exit_code = 3

    def __init__(self, failures: list[str], warnings: list[str]):
        self.failures, self.warnings = failures, warnings
        super().__init__(failures, warnings)

    def __str__(self) -> str:
        lines = "".join(f"\n  - {failure}" for failure in self.failures)
        lines += "".join(f"\n  - (a warning) {warning}" for warning in self.warnings)
        return f"monitoring stopped the run; its figures are recorded in 'monitoring':{lines}"
