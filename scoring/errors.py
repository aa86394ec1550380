"""Failures of scoring. Base classes and exit codes: etl.contract.errors."""

from etl.contract.errors import PrerankError, UsageError


class ScoringError(PrerankError):
    """Candidates, a model or the lake do not fit together; the message says what to do."""


class PackageError(PrerankError):
    """Something that a package for a cluster needs is not on this machine."""

    def __init__(self, what: str, remedy: str):
        self.what, self.remedy = what, remedy
        super().__init__(what, remedy)

    def __str__(self) -> str:
        return f"nothing was packaged: {self.what}. To mend it, {self.remedy}"


class LostPartError(ScoringError):
    """Parts of a day that ``score`` had kept aside (score.chunks) are damaged or incomplete."""

    def __init__(self, where: str, problem: str):
        self.where, self.problem = where, problem
        super().__init__(where, problem)

    def __str__(self) -> str:
        return (
            f"parts of the day that score had kept aside in {self.where} {self.problem}. They were taken away, and "
            "'scores' is as it was: run the same command again"
        )


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


class UnknownRequestError(UsageError):
    """A request that the candidates of a ds do not hold; names the nearest."""

    def __init__(self, request_id: str, ds: str, nearest: str | None):
        self.request_id, self.ds, self.nearest = request_id, ds, nearest
        super().__init__(request_id, ds, nearest)

    def __str__(self) -> str:
        hint = f"did you mean '{self.nearest}'? " if self.nearest else ""
        return (
            f"no request '{self.request_id}' among the candidates of {self.ds}: {hint}An id is the request_id of a row "
            "of 'candidates' and 'scores'"
        )


class UnknownItemError(ScoringError):
    """An item that the catalogue of a day does not hold: it has no vector, and no score."""

    def __init__(self, item_id: str, catalogue: str, is_candidate: bool | None, nearest: str | None):
        self.item_id, self.catalogue, self.is_candidate, self.nearest = item_id, catalogue, is_candidate, nearest
        super().__init__(item_id, catalogue, is_candidate, nearest)

    def __str__(self) -> str:
        hint = f"did you mean '{self.nearest}'? " if self.nearest else ""
        told = {
            True: "It is a candidate of the request, counted in unknown_items and never scored",
            False: "It is no candidate of the request either",
            None: "The request's list of candidates could not be read",
        }[self.is_candidate]
        return (
            f"the catalogue of {self.catalogue} does not hold item '{self.item_id}': {hint}{told}. "
            "Ingest a catalogue that has it: prerank ingest --table items"
        )
