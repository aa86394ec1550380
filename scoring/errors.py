"""Failures of scoring. Base classes and exit codes: etl.contract.errors."""

from etl.contract.errors import PrerankError


class ScoringError(PrerankError):
    """Candidates, a model or the lake do not fit together; the message says what to do."""


class DeviceError(ScoringError):
    """A task has no GPU that it could compute on, though it should."""


class NoChampionError(ScoringError):
    """No model version was promoted on or before a day."""

    def __init__(self, ds: str, where: str):
        self.ds, self.where = ds, where
        super().__init__(ds, where)

    def __str__(self) -> str:
        return (
            f"no champion as of {self.ds} in {self.where}: a promotion counts from its --ds on. Make one with: "
            f"prerank promote --model DIR --data EXPORT --ds {self.ds} (a directory named champion is ./champion)"
        )


class NotPromotedError(PrerankError):
    """A model version did not beat the champion: recorded, and the champion stays (exit code 3)."""

    exit_code = 3

    def __init__(self, model: str, champion: str, ds: str, figures: str, reason: str):
        self.model, self.champion, self.ds, self.figures, self.reason = model, champion, ds, figures, reason
        super().__init__(model, champion, ds, figures, reason)

    def __str__(self) -> str:
        return (
            f"{self.model} is not promoted: {self.reason}.\n  {self.figures}\n"
            f"  Champion of {self.ds} stays {self.champion}; the decision is recorded in 'models'. Compare on more "
            "requests (raise export.test_days), improve the model, or promote it all the same with --force."
        )
