"""RankTower (Yan & Li, Credit Karma, arXiv 2407.12385): gated heads that attend to each other before they are matched.

Section 4 of the research notes. No code and none of the paper's equations were at hand: its parts (gated multi-head
towers, bi-directional gated cross-attention, maximum similarity, a hybrid loss) are from reviews; every equation below
is inference.

- Multi-head gated network, per side: Z[k] = sigmoid(G_k x) * MLP_k(x), K vectors of width train.dim / K. The MLPs share
  their hidden layers and differ in the last. The text vector is added, as in the other towers here: an untrained model
  matches words. LayerNorm, no BatchNorm.
- Gated cross-attention: L = Z_u W_q (Z_v W_k)^T / sqrt(w); U = Z_u + g_u * (softmax_v(L) Z_v W_o), and
  V = Z_v + g_v * (softmax_u(L)^T Z_u W_p). Each direction has its own softmax, so that both are averages. The gates,
  one per vector, see their own side: a gate that sees the pair would be a layer per pair.
- Maximum similarity: m_k = max_k' cos(U[k], V[k']). The paper's layer has no parameters and sums over k; here the sum
  has learned positive weights per label head, and a bias, so that cosines can become a probability.
- Hybrid loss: of distillation, fine-grained and coarse-grained ranking, the fine one is here: a softmax over the items
  of each request, pulled up where they were engaged, beside the heads' own losses. There is no teacher to distil from.
  The coarse one wants later stages above earlier ones; where an export has drawn negatives, they stand in the same
  list, and that is all there is of it. The notes' differentiable sorting is left out.

Per pair 8 K^2 w + 8 K w + K^2 + 2 K H FLOPs and 12 K w + 4 K bytes: at K 4 and w 16 about 2.6 kFLOP and 784 bytes,
where the notes' section 10 has 2 k and 768. Fewer, wider vectors did better on the simulated log, hence K 2.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import TrainConfig
from models.contract import Batch, Cost, ItemFeatures, QueryFeatures, Ranker
from models.errors import TrainingError
from models.features import FeatureSpec
from models.fields import ItemFields, QueryFields
from models.scaling import CrossScaling
from models.towers import NumericStatistics, Tables

#: Of the sum of the K cosines, as models.fusion starts its one.
START_WEIGHT = 4.0


class GatedHeads(nn.Module):
    """One side: fields (R, F*d) and text (R, D) -> Z, its two projections (R, K, w) each, and its gates (R, K).

    All of it is one row: what an item stores, and what a request is worth.
    """

    def __init__(self, width: int, config: TrainConfig, parts: int):
        super().__init__()
        self.parts = parts
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, config.dim)
        layers: list[nn.Module] = []
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.LayerNorm(hidden), nn.Dropout(config.dropout)]
            width = hidden
        last = nn.Linear(width, config.dim)
        nn.init.normal_(last.weight, std=0.5 / (width * config.dim) ** 0.5)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        each = config.dim // parts
        self.match = nn.Linear(each, each, bias=False)  # W_q or W_k
        self.give = nn.Linear(each, each, bias=False)  # W_p or W_o
        self.attention_gate = nn.Linear(each, 1)
        nn.init.constant_(self.attention_gate.bias, -2.0)

    def forward(self, fields: Tensor, text: Tensor) -> Tensor:
        x = self.norm(fields)
        z = torch.sigmoid(self.gate(x)) * self.layers(x) + text  # (R, K*w)
        z = functional.normalize(z.unflatten(1, (self.parts, -1)), dim=-1)  # (R, K, w)
        gates = torch.sigmoid(self.attention_gate(z)).squeeze(-1)  # (R, K)
        return torch.cat([z.flatten(1), self.match(z).flatten(1), self.give(z).flatten(1), gates], dim=1)


class MaxSimilarity(nn.Module):
    """Logits (P, H) of attentive vectors U and V (P, K, w)."""

    def __init__(self, heads: int, parts: int):
        super().__init__()
        start = torch.tensor(START_WEIGHT / parts).expm1().log()
        self.rho = nn.Parameter(start.repeat(parts, heads))
        self.bias = nn.Parameter(torch.zeros(heads))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        cosines = functional.normalize(u, dim=-1) @ functional.normalize(v, dim=-1).mT  # (P, K, K)
        return cosines.amax(dim=2) @ functional.softplus(self.rho) + self.bias  # (P, K) -> (P, H)


class RankTower(Ranker):
    """Sides: rows of [Z, match, give] (K*w each) and gates (K), q (R, 3D + K) and v (N, 3D + K)."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig, scaling: CrossScaling, numerics: NumericStatistics):
        super().__init__(spec.head_weights, config.dim)
        own, width = config.ranktower, config.ranktower.field_dim
        if config.dim % own.parts:
            raise TrainingError(
                f"ranktower cuts train.dim into train.ranktower.parts vectors: {config.dim} cannot be cut into "
                f"{own.parts}. Make the first a multiple of the second."
            )
        self.parts, self.fine_weight = own.parts, own.fine_weight
        self.tables = Tables(spec, config)
        self.query_fields = QueryFields(spec, config, width)
        self.item_fields = ItemFields(spec, config, numerics, width)
        self.query_heads = GatedHeads(len(self.query_fields.names) * width, config, own.parts)
        self.item_heads = GatedHeads(len(self.item_fields.names) * width, config, own.parts)
        self.fusion_layer = MaxSimilarity(self.heads, own.parts)

    def encode_query(self, queries: QueryFeatures) -> Tensor:
        text = self.tables.texts(queries.text)  # (R, D)
        fields = self.query_fields(self.tables, queries, text)  # (R, F, d)
        q: Tensor = self.query_heads(fields.flatten(1), text)  # (R, 3D + K)
        return q

    def encode_item(self, items: ItemFeatures) -> Tensor:
        text = self.tables.texts(items.text)  # (N, D)
        fields = self.item_fields(self.tables, items, text)  # (N, F, d)
        v: Tensor = self.item_heads(fields.flatten(1), text)  # (N, 3D + K)
        return v

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        z_u, match_u, give_u, gate_u = self._taken_apart(q)
        z_v, match_v, give_v, gate_v = self._taken_apart(v)
        weights = match_u @ match_v.mT * z_u.shape[-1] ** -0.5  # (P, K, K)
        u = z_u + gate_u * (weights.softmax(dim=2) @ give_v)  # (P, K, w)
        i = z_v + gate_v * (weights.softmax(dim=1).mT @ give_u)  # (P, K, w)
        logits: Tensor = self.fusion_layer(u, i)
        return logits

    def cost(self) -> Cost:
        """Products of the attention and of the cosines, gated sums, lengths, maxima; exponentials are not counted."""
        k, width = self.parts, self.dim // self.parts
        flops = 8 * k * k * width + 8 * k * width + k * k + 2 * k * self.heads
        return Cost(flops=flops, bytes=4 * (3 * self.dim + k))

    def start_at(self, base_rates: Tensor) -> None:
        with torch.no_grad():
            self.fusion_layer.bias.copy_(torch.logit(base_rates, eps=1e-4))

    def auxiliary_loss(self, batch: Batch, q: Tensor, v: Tensor, logits: Tensor) -> Tensor | None:
        """The fine-grained loss: mean over the step's engaged (pair, head) of -log softmax within the request."""
        if self.fine_weight == 0:
            return None
        return self.fine_weight * listwise(logits, batch)

    def _taken_apart(self, side: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(P, 3D + K) -> three of (P, K, w) and (P, K, 1)."""
        parts = side.split([self.dim, self.dim, self.dim, self.parts], dim=1)
        z, match, give = (part.unflatten(1, (self.parts, self.dim // self.parts)) for part in parts[:3])
        return z, match, give, parts[3].unsqueeze(-1)


def listwise(logits: Tensor, batch: Batch) -> Tensor:
    """() of logits (P, H): -log softmax within the request, summed over positive labels, over the step's positives."""
    lists = batch.pair_query.unsqueeze(1).expand_as(logits)  # (P, H)
    shape = len(batch.queries), logits.shape[1]
    most = logits.new_full(shape, -torch.inf).scatter_reduce(0, lists, logits.detach(), "amax")  # (R, H)
    shifted = logits - most[batch.pair_query]
    totals = logits.new_zeros(shape).index_add(0, batch.pair_query, shifted.exp())  # (R, H)
    surprise = totals.log()[batch.pair_query] - shifted  # (P, H)
    return (surprise * (batch.labels > 0)).sum() / batch.total_positives.clamp(min=1.0)
