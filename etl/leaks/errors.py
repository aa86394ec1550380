"""What stops a lake whose features know the future."""

from etl.contract.errors import PrerankError


class LeakError(PrerankError):
    """A feature moved when what came after its row was changed, or the trial could not have noticed (exit code 3)."""

    exit_code = 3

    def __init__(self, failures: list[str]):
        self.failures = failures
        super().__init__(failures)

    def __str__(self) -> str:
        lines = "".join(f"\n  - {failure}" for failure in self.failures)
        return (
            f"check --leaks failed:{lines}\n"
            "  A feature of a row at time t on day D may use interactions and catalogues of D-1-lag_days, and the "
            "user's actions strictly before t. Do not train on such an export before the cause is found."
        )
