"""The whole configuration: etl's and models' sections, and what scoring adds."""

from dataclasses import dataclass, field

from etl.config import EtlConfig
from etl.contract.paths import require_local
from models.config import TrainConfig

#: Where a model runs, see ``score.device``.
AUTO, CPU, CUDA = DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class ScoreConfig:
    top_k: int = 100
    """Items kept per request, best first; ties by item_id."""
    requests_per_batch: int = 256
    """Requests that a worker scores at once."""
    vectors_root: str = "./vectors"
    """Where item vectors lie as files that workers map into memory; on a cluster, a folder that every host sees."""
    shard_mb: int = 4096
    """Vectors of more than so many MB are split by item: a task maps one part, and their best items are merged."""
    chunks: int = 1
    """Above 1, a day is scored in so many parts by a hash of request_id; a run that was killed goes on after them."""
    direct_read: bool = True
    """Workers read candidate lists from the table's own files where the lake is a local path, which is several times
    faster; false reads them through Spark, as with any other lake."""
    device: str = AUTO
    """auto: the GPU that Spark gave the task, where torch has CUDA, else the CPU; cuda: nothing else will do; cpu."""
    gpus_per_executor: int = 1
    """In spark.profile gpu: GPUs of an executor that is started to run a model."""
    gpus_per_task: float = 1.0
    """In spark.profile gpu: what a task that runs a model holds; 0.25 lets four tasks share a GPU."""
    gpu_discovery_script: str = ""
    """On YARN and Kubernetes: a program on every host that prints an executor's GPUs; empty takes prerank's own, which
    asks nvidia-smi. Standalone workers name theirs: spark.worker.resource.gpu.discoveryScript."""
    gpu_vendor: str = "nvidia.com"
    """On Kubernetes: whose device plugin hands out the GPUs."""

    def __post_init__(self) -> None:
        require_local("vectors_root", self.vectors_root)
        if min(self.top_k, self.requests_per_batch, self.shard_mb, self.chunks) < 1:
            raise ValueError("top_k, requests_per_batch, shard_mb and chunks must be 1 or more")
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}")
        if self.gpus_per_executor < 1 or not 0 < self.gpus_per_task <= 1:
            raise ValueError(
                "gpus_per_executor must be 1 or more, gpus_per_task above 0 and at most 1: a task uses one"
            )


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
