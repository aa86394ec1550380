"""The section ``train:`` of ``prerank.yaml``. Explanations stand under each field."""

from dataclasses import dataclass

EARLY_STOPPING_METRICS = ("hits@1", "hits@3", "hits@10", "ndcg@10", "mrr", "auc")


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
    """The validation metric that picks the best epoch."""
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
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""

    def __post_init__(self) -> None:
        if self.early_stopping_metric not in EARLY_STOPPING_METRICS:
            raise ValueError(f"early_stopping_metric: known are {', '.join(EARLY_STOPPING_METRICS)}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError("device: known are auto, cpu, cuda")
        counts = ("epochs", "patience", "batch_requests", "dim", "id_dim", "category_dim", "ngram")
        for name in (*counts, "max_text_features", "history_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more")
        for name in ("text_buckets", "id_buckets", "category_buckets"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be 2 or more: bucket 0 means 'not known'")
        if not all(width >= 1 for width in self.hidden):
            raise ValueError("hidden: every width must be 1 or more")
        if self.learning_rate <= 0 or self.fusion_learning_rate_factor <= 0 or self.gradient_clip <= 0:
            raise ValueError("learning_rate, fusion_learning_rate_factor and gradient_clip must be above 0")
        if not (0 <= self.dropout < 1 and 0 <= self.id_dropout < 1) or self.weight_decay < 0:
            raise ValueError("dropout and id_dropout must lie in [0, 1), weight_decay must be 0 or more")
