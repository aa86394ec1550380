"""The whole configuration: etl's and models' sections, and what scoring adds."""

from dataclasses import dataclass, field

from etl.config import EtlConfig
from models.config import TrainConfig


@dataclass(frozen=True)
class ScoreConfig:
    top_k: int = 100
    """Items kept per request, best first; ties by item_id."""
    requests_per_batch: int = 256
    """Requests that a worker scores at once."""

    def __post_init__(self) -> None:
        if self.top_k < 1 or self.requests_per_batch < 1:
            raise ValueError("top_k and requests_per_batch must be 1 or more")


@dataclass(frozen=True)
class CandidatesConfig:
    """How many items ``prerank candidates`` takes from each source; 0 leaves a source out."""

    interactions: int = 200
    """The query's best items by decayed engagement, as of D-1-lag_days."""
    bm25: int = 200
    """Items whose text matches the query's words."""
    nearest: int = 200
    """Items nearest to the model's query vector by dot product; needs --model."""

    def __post_init__(self) -> None:
        if min(self.interactions, self.bm25, self.nearest) < 0:
            raise ValueError("interactions, bm25 and nearest must be 0 or more")


@dataclass(frozen=True)
class PrerankConfig(EtlConfig):
    """Everything in ``prerank.yaml``."""

    train: TrainConfig = field(default_factory=TrainConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    candidates: CandidatesConfig = field(default_factory=CandidatesConfig)
