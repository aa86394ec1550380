"""What can go wrong between an export, a model directory and a training run."""

from etl.contract.errors import PrerankError


class ExportError(PrerankError):
    """An export that its manifest promises does not hold what it should."""


class ModelError(PrerankError):
    """A model directory that is missing, damaged or of another format."""


class FeatureContractError(ModelError):
    """A model and the data that it is given disagree about a column."""

    def __init__(self, column: str, model: object, data: object):
        self.column, self.model, self.data = column, model, data
        super().__init__(column, model, data)

    def __str__(self) -> str:
        return (
            f"the model and the data disagree about '{self.column}': the model was trained with {self.model!r}, "
            f"the data has {self.data!r}. Train again on this data, or export with the configuration of the model."
        )


class TrainingError(PrerankError):
    """Training cannot start or has diverged."""


class CheckpointError(PrerankError):
    """A checkpoint that cannot be read."""

    def __init__(self, path: str, found: str):
        self.path, self.found = path, found
        super().__init__(path, found)

    def __str__(self) -> str:
        return f"the checkpoint {self.path} cannot be read ({self.found}). Train with --fresh to start over without it."
