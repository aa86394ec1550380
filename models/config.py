"""The section ``train:`` of ``prerank.yaml``. Explanations stand under each field."""

from dataclasses import dataclass, field, fields
from typing import Any

from etl.contract.paths import require_local
from models.model_configs import (
    ColdConfig,
    DatConfig,
    FitConfig,
    FscdConfig,
    HitConfig,
    InteractRankConfig,
    IntTowerConfig,
    RankTowerConfig,
)

BCE, FOCAL = "bce", "focal"
FP32, BF16 = "fp32", "bf16"
REQUEST_METRICS = ("hits@1", "hits@3", "hits@10", "ndcg@10", "mrr", "auc")
ROW_AUC = "row_auc"
EARLY_STOPPING_METRICS = (*REQUEST_METRICS, ROW_AUC)

_CHOICES = {
    "early_stopping_metric": EARLY_STOPPING_METRICS,
    "device": ("auto", "cpu", "cuda"),
    "loss": (BCE, FOCAL),
    "precision": (FP32, BF16),
}
_AT_LEAST = {
    0: ("seed", "weight_decay", "focal_gamma", "in_batch_weight", "cross_batch_negatives", "workers"),
    1: (
        *("epochs", "patience", "batch_requests", "dim", "id_dim", "category_dim", "ngram"),
        *("max_text_features", "history_length", "log_steps", "checkpoint_steps"),
    ),
    # Bucket 0 means 'not known'.
    2: ("text_buckets", "id_buckets", "category_buckets"),
}
_ABOVE_0 = ("learning_rate", "fusion_learning_rate_factor", "gradient_clip", "in_batch_half_life_steps")
_RUNTIME = ("models_root", "device", "workers", "log_steps", "checkpoint_steps", "tensorboard", "compile")


@dataclass(frozen=True)
class TrainConfig:
    models_root: str = "./trained"
    """Where trained models live: a bare model name means {models_root}/{name}."""
    seed: int = 17
    """Weights, order of requests and dropout follow from it."""
    epochs: int = 5
    """Passes over the training split, at most."""
    patience: int = 2
    """Stop after this many epochs without a better validation metric."""
    early_stopping_metric: str = "ndcg@10"
    """The validation metric that picks the best epoch; row_auc where requests have one item each."""
    batch_requests: int = 192
    """Whole requests per step; the query tower runs once for each."""
    learning_rate: float = 0.003
    """Peak of the schedule: a short linear warm-up, then a linear fall to a tenth."""
    fusion_learning_rate_factor: float = 5.0
    """The few fusion weights learn faster than the towers by this factor."""
    weight_decay: float = 0.01
    """Decoupled (AdamW) decay of all weights but fusion, biases and norms."""
    gradient_clip: float = 5.0
    """Largest norm of a step's gradient."""
    dim: int = 64
    """Width of the item vector and of each head's query vector."""
    hidden: tuple[int, ...] = (256,)
    """Hidden layers of each tower."""
    id_dim: int = 32
    """Width of the hashed query and item id embeddings."""
    category_dim: int = 16
    """Width of each category and segment embedding."""
    dropout: float = 0.1
    """On hidden layers."""
    id_dropout: float = 0.2
    """How often training hides an id, so that text carries new items and queries."""
    text_buckets: int = 32768
    """Hash buckets of words and character n-grams."""
    id_buckets: int = 16384
    """Hash buckets of item ids, and as many of query keys."""
    category_buckets: int = 1024
    """Hash buckets of each item category."""
    ngram: int = 3
    """Length of the character n-grams."""
    max_text_features: int = 64
    """Words and n-grams kept per text, words first."""
    history_length: int = 50
    """The last actions of the user that a model reads (the export may hold more)."""
    loss: str = BCE
    """Of each head: bce, or focal, which counts what the model is already sure of for less."""
    focal_gamma: float = 2.0
    """How much less, as the exponent of focal."""
    in_batch_weight: float = 0.0
    """Weight of the in-batch sampled softmax beside the heads' losses; 0 leaves it out (the public code has 0.01)."""
    in_batch_half_life_steps: float = 500.0
    """How fast the estimate of an item's popularity, which that loss corrects for, forgets."""
    cross_batch_negatives: int = 0
    """Item vectors of earlier steps that join as negatives."""
    precision: str = FP32
    """Of the towers in training: fp32, or bf16 autocast."""
    compile: bool = False
    """Compile the training step (torch.compile): needs a C++ compiler, and minutes before the first step."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    workers: int = 1
    """Threads that make batches ahead; 0 makes each when it is asked for."""
    log_steps: int = 100
    """Steps between two lines of figures."""
    checkpoint_steps: int = 1000
    """Steps between two checkpoints within an epoch; each epoch ends with one."""
    tensorboard: bool = True
    """Write the figures as TensorBoard files to {models_root}/tensorboard/{model}."""
    interactrank: InteractRankConfig = field(default_factory=InteractRankConfig)
    """Of the model interactrank only."""
    fit: FitConfig = field(default_factory=FitConfig)
    """Of the models fit and interactrank_fit only."""
    inttower: IntTowerConfig = field(default_factory=IntTowerConfig)
    """Of the model inttower alone."""
    hit: HitConfig = field(default_factory=HitConfig)
    """Of the model hit alone."""
    dat: DatConfig = field(default_factory=DatConfig)
    """Of the model dat alone."""
    cold: ColdConfig = field(default_factory=ColdConfig)
    """Of the model cold alone."""
    fscd: FscdConfig = field(default_factory=FscdConfig)
    """Of the model fscd alone."""
    ranktower: RankTowerConfig = field(default_factory=RankTowerConfig)
    """Of the model ranktower alone."""

    def __post_init__(self) -> None:
        require_local("models_root", self.models_root)
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: known are {', '.join(known)}")
        for least, names in _AT_LEAST.items():
            for name in names:
                if getattr(self, name) < least:
                    raise ValueError(f"{name} must be {least} or more")
        for name in _ABOVE_0:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
        if not all(width >= 1 for width in self.hidden):
            raise ValueError("hidden: every width must be 1 or more")
        if not (0 <= self.dropout < 1 and 0 <= self.id_dropout < 1):
            raise ValueError("dropout and id_dropout must lie in [0, 1)")

    def identity(self) -> dict[str, Any]:
        """The fields that decide what is learned; the others only say where and how it is run."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _RUNTIME}
