"""FSCD (Ma et al., Alibaba, SIGIR 2021, arXiv 2105.07706): which fields is a pair's MLP worth, given what they cost?

Section 6 of the research notes; the paper's text was not at hand.

- Complexity c_j = w1 o_j + w2 n_j + w3 e_j of a field: what is read online, its cardinality, its width. Units are not
  published. Here each is relative to the largest among the fields: o_j = reads per pair (1 for a cross feature, a
  query field's lookups over PAIRS_PER_REQUEST, 0 for an item field, which is computed offline), n_j = the logarithm of
  its embedding rows, e_j = its width.
- Keep probability d_j = sigmoid(delta_j), delta_j starting at 0; prior theta_j = 1 - sigmoid(c_j), so that
  alpha_j = log(1 - theta_j) - log(theta_j) = c_j.
- Selecting: field j becomes z_j e_j / d_j, z_j = sigmoid((logit d_j + logit u) / T) with u ~ U(0, 1), one draw per
  step, the same on all ranks (the concrete relaxation). The penalty (lambda / B) sum_j alpha_j z_j is taken in
  expectation, z_j ~ d_j, as public variational dropout does; B is the step's total weight.
- Then the k fields with the highest d_j are kept and trained on, from the weights of the selection: the paper's two
  runs are two shares of one run here (``at_step``). Epochs are judged from the second on.
- In eval mode nothing is drawn: the kept fields, or before there are any the best k so far, enter as they are.
- Cross features are fields of width 1. The first layer is split as in models.cold: of what is dropped, only cross
  features save FLOPs and bytes per pair. Query and item fields that are dropped save nothing here: they are computed
  and multiplied by 0.

Notes section 10: 257 kFLOP and 1,200 bytes per pair at (300, 300, 128) without cross features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import TrainConfig
from models.contract import Batch, Cost, ItemFeatures, QueryFeatures, Ranker
from models.features import FeatureSpec
from models.fields import ItemFields, QueryFields
from models.hashing import AGE_BUCKETS
from models.model_configs import FscdConfig
from models.scaling import CrossScaling
from models.split_scorer import SplitScorer
from models.towers import NumericStatistics, Tables

#: What a request's own work is shared by.
PAIRS_PER_REQUEST = 1000
_LEAST_KEEP = 0.01


@dataclass(frozen=True)
class FieldCost:
    """What a field costs, in the units of o, n (before the logarithm) and e."""

    reads_per_pair: float
    rows: int
    width: int


class FieldSelection(nn.Module):
    """Keep probabilities of F fields, and what they say about which to keep."""

    complexity: Tensor
    noise: Tensor
    kept: Tensor
    selected: Tensor

    def __init__(self, complexity: Tensor, config: FscdConfig):
        super().__init__()
        self.config, self.count = config, max(1, round(config.kept_share * len(complexity)))
        self.delta = nn.Parameter(torch.zeros(len(complexity)))
        self.register_buffer("complexity", complexity, persistent=False)
        self.register_buffer("noise", torch.zeros(len(complexity)), persistent=False)
        self.register_buffer("kept", torch.zeros(len(complexity), dtype=torch.bool))
        self.register_buffer("selected", torch.zeros((), dtype=torch.bool))

    def probabilities(self) -> Tensor:
        """d (F,)."""
        return torch.sigmoid(self.config.gate_speed * self.delta).clamp(_LEAST_KEEP, 1 - _LEAST_KEEP)

    def chosen(self) -> Tensor:
        """(F,) bool: the fields that are kept."""
        best = torch.sort(self.delta.detach(), descending=True, stable=True).indices[: self.count]
        so_far = torch.zeros_like(self.kept).index_fill(0, best, True)
        return torch.where(self.selected, self.kept, so_far)

    def draw(self) -> None:
        """logit u of the fields, for the passes until the next draw."""
        self.noise.copy_(torch.logit(torch.rand_like(self.noise), eps=1e-6))

    def select(self) -> None:
        """Settle on the best fields so far, once."""
        self.kept.copy_(self.chosen())
        self.selected.fill_(True)

    def factors(self) -> Tensor:
        """(F,): what each field is multiplied by."""
        chosen = self.chosen().float()
        if not self.training:
            return chosen
        d = self.probabilities()
        z = torch.sigmoid((torch.logit(d) + self.noise) / self.config.temperature)
        return torch.where(self.selected, chosen, z / d)

    def penalty(self) -> Tensor:
        """(): lambda sum_j alpha_j d_j while selecting, then lambda times the complexity of what is kept."""
        share = torch.where(self.selected, self.chosen().float(), self.probabilities())
        return self.config.complexity_weight * (self.complexity * share).sum()


class Fscd(Ranker):
    """Sides: the first layer's halves, q (R, h_1) and v (N, h_1)."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig, scaling: CrossScaling, numerics: NumericStatistics):
        super().__init__(spec.head_weights, config.dim)
        own, width = config.fscd, config.fscd.field_dim
        self.tables = Tables(spec, config)
        self.query_fields = QueryFields(spec, config, width)
        self.item_fields = ItemFields(spec, config, numerics, width)
        query, item, cross = self.query_fields.names, self.item_fields.names, scaling.names
        self.names = (*(f"query.{name}" for name in query), *(f"item.{name}" for name in item), *cross)
        self.counts = (len(query), len(item), len(cross))
        costs = [*query_costs(spec, width), *item_costs(spec, width), *(FieldCost(1.0, 0, 1) for _ in cross)]
        self.selection = FieldSelection(complexity(costs, own), own)
        sides = len(query) * width, len(item) * width
        self.scorer = SplitScorer(sides, scaling, own.hidden, self.heads, config.dropout)

    def encode_query(self, queries: QueryFeatures) -> Tensor:
        fields = self.query_fields(self.tables, queries, self.tables.texts(queries.text))  # (R, F, d)
        q: Tensor = self.scorer.query((fields * self._factors(0).unsqueeze(-1)).flatten(1))  # (R, F*d) -> (R, h_1)
        return q

    def encode_item(self, items: ItemFeatures) -> Tensor:
        fields = self.item_fields(self.tables, items, self.tables.texts(items.text))  # (N, F, d)
        v: Tensor = self.scorer.item((fields * self._factors(1).unsqueeze(-1)).flatten(1))  # (N, F*d) -> (N, h_1)
        return v

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        scaled = self.scorer.scaled(cross)
        if self.training:
            logits: Tensor = self.scorer(q, v, scaled * self._factors(2))
            return logits
        columns = self._part(self.selection.chosen(), 2).nonzero().squeeze(1)
        served: Tensor = self.scorer(q, v, scaled[:, columns], columns)
        return served

    def cross_read(self) -> tuple[str, ...]:
        kept = self._part(self.selection.chosen(), 2).tolist()
        return tuple(name for name, is_kept in zip(self.names[sum(self.counts[:2]) :], kept, strict=True) if is_kept)

    def cost(self) -> Cost:
        return self.scorer.cost(int(self._part(self.selection.chosen(), 2).sum()))

    def learned(self) -> dict[str, list[str]]:
        return {"kept_fields": list(self.kept_fields())}

    def kept_fields(self) -> tuple[str, ...]:
        """Names, the highest keep probability first."""
        kept = self.selection.chosen()
        order = torch.sort(self.selection.delta.detach(), descending=True, stable=True).indices.tolist()
        return tuple(self.names[index] for index in order if kept[index])

    def start_at(self, base_rates: Tensor) -> None:
        self.scorer.start_at(base_rates)

    def at_step(self, share: float) -> None:
        if self.settled():
            return
        if share >= self.selection.config.selection_share:
            self.selection.select()
        else:
            self.selection.draw()

    def settled(self) -> bool:
        return bool(self.selection.selected)

    def auxiliary_loss(self, batch: Batch, q: Tensor, v: Tensor, logits: Tensor) -> Tensor:
        total = batch.total_weight.clamp(min=1e-12)
        return self.selection.penalty() / total * (batch.weight.sum() / total)

    def _factors(self, part: int) -> Tensor:
        return self._part(self.selection.factors(), part)

    def _part(self, values: Tensor, part: int) -> Tensor:
        return values.split(self.counts)[part]


def query_costs(spec: FeatureSpec, width: int) -> list[FieldCost]:
    """In the order of ``QueryFields.names``."""
    history = spec.history_length * (3 + len(spec.categories))
    reads = [(spec.max_text_features, spec.text_buckets), (1, spec.id_buckets)]
    reads += [(1, max(len(values), 1)) for values in spec.segments.values()]
    reads += [(history, spec.id_buckets + len(spec.actions) + AGE_BUCKETS)]
    return [FieldCost(lookups / PAIRS_PER_REQUEST, rows, width) for lookups, rows in reads]


def item_costs(spec: FeatureSpec, width: int) -> list[FieldCost]:
    """In the order of ``ItemFields.names``."""
    rows = [spec.text_buckets, spec.id_buckets, *(spec.category_buckets for _ in spec.categories)]
    rows += [0] * (len(spec.numerics) + bool(spec.dense_width))
    return [FieldCost(0.0, count, width) for count in rows]


def complexity(costs: Sequence[FieldCost], config: FscdConfig) -> Tensor:
    """c (F,): each kind of cost relative to its largest, weighed and summed."""
    kinds = (
        (config.online_cost, [cost.reads_per_pair for cost in costs]),
        (config.cardinality_cost, [math.log1p(cost.rows) for cost in costs]),
        (config.width_cost, [float(cost.width) for cost in costs]),
    )
    return sum((weight * torch.tensor(values) / max(*values, 1e-12) for weight, values in kinds), torch.zeros(()))
