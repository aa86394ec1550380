"""FIT (Xiong et al., Ant Group, SIGIR'25, arXiv 2509.12948): the sides meet early by cluster, and late in small layers.

The paper's text was not at hand. S5 and S6 are public re-implementations that cite its equations, S7 is a review of it.

Meta Query Module (S5, S6 and S7 agree on Q, Q*, k and the falling temperature; equation numbers are S5's)
- e_c: the item's id and categories (Eq. 4), through a linear layer (S6; S5 has none) and a LayerNorm (ours: embeddings
  start small, and without it k stays flat).
- Q (N, D) are learned, Kaiming-uniform; Q* = (Q Q^T) Q, row i of it is meta query i. It is cubic in Q: a LayerNorm of
  each row (ours) bounds what the user tower sees, and the norm of Q* itself is watched.
- k = softmax(e_c Q^T / tau) over the raw Q (Eq. 6); tau falls linearly from 1 to tau_min (S5). Eval takes the argmax.
- The user tower sees meta query n as the target of its attention to the history (S5: DIN over [t, s, t - s, t * s]) and
  as a feature. It depends on no item, so that N runs of it, or one per distinct index in the request, serve all items.
  What these runs share is done once: the user's part of the first layer, the history's part of the attention.
- Training: the paper runs the tower on the soft query k Q* of each (request, item). Ours mixes the N runs by k and
  brings the mixture to length 1. The sides stay apart (``encode_query`` is per request) and the tower is only ever
  trained on the N queries that serving knows. Both readings are the hard one once tau is near 0. Straight-through
  (argmax forward, softmax backward) was not taken: it trains only picked queries from the first step on, which is what
  the falling temperature is there to avoid.

Lightweight Similarity Scorer (rests on S5 alone, and on LITE, arXiv 2406.17968, from which it descends)
- S = c Z_u Z_v^T (H_u, H_v); S_1 = ReLU(S W_r + b_r) (H_u, o); S_2 = ReLU(S_1^T W_c + b_c) (o, o);
  logit_h = w_h . vec(S_2) + b_h.
- S5's additions, kept: sides of length 1, a learned positive scale c, output weights of spread 1/o. S5's BatchNorm over
  S is left out, since it makes a row depend on its batch: c starts where the entries of S have spread 1.
- Z_v is the vector of the other models' item tower, cut into H_v heads: as many bytes per item as two_tower has. The
  text vector passes by the user tower's layers in the same cuts, so that words match from the start.
- Where o >= 2 H_v and o >= H_u the layers start as the trace of S (ours), which is two_tower's dot product of q and v:
  from random layers the scorer has to find the match of words first.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import TrainConfig
from models.contract import Batch, Cost, ItemFeatures, QueryFeatures, Ranker
from models.errors import TrainingError
from models.features import FeatureSpec
from models.fusion import START_DOT_WEIGHT
from models.scaling import CrossScaling
from models.towers import HistoryEntries, ItemTower, NumericStatistics, QueryInputs, Tables


class MetaQueries(nn.Module):
    """N learned queries, one per cluster of items, and how an item picks among them."""

    tau: Tensor

    def __init__(self, spec: FeatureSpec, config: TrainConfig):
        super().__init__()
        width = config.id_dim + config.category_dim * len(spec.categories)
        # Neither has a bias: it would be the same for all items, and larger than what tells them apart.
        self.attributes = nn.Sequential(
            nn.Linear(width, config.dim, bias=False), nn.LayerNorm(config.dim, elementwise_affine=False)
        )
        self.queries = nn.Parameter(torch.empty(config.fit.meta_queries, config.dim))
        nn.init.kaiming_uniform_(self.queries, a=math.sqrt(5))
        self.norm = nn.LayerNorm(config.dim)
        # A tensor, so that a compiled step need not be compiled again when it falls.
        self.register_buffer("tau", torch.ones(()), persistent=False)

    def group(self) -> Tensor:
        """Q* (N, D)."""
        return (self.queries @ self.queries.T) @ self.queries

    def targets(self) -> Tensor:
        """Meta queries as the user tower sees them (N, D)."""
        targets: Tensor = self.norm(self.group())
        return targets

    def affinity(self, tables: Tables, items: ItemFeatures) -> Tensor:
        """e_c Q^T (items, N)."""
        known = [tables.item_id(tables.hide(items.item_id)), tables.kinds(items.categories)]
        affinity: Tensor = self.attributes(torch.cat(known, dim=-1)) @ self.queries.T
        return affinity

    def shares(self, affinity: Tensor) -> Tensor:
        """k (items, N) at the present temperature."""
        return torch.softmax(affinity.float() / self.tau, dim=-1)


class TargetAttention(nn.Module):
    """The user sequence as each of M targets sees it: softmax over a small layer of [t, s, t - s, t * s] (DIN).

    All four are linear in s once t is given: a target is one matrix and one bias, and its hidden layer one product.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.of_target = nn.Linear(dim, hidden)
        self.of_entry = nn.Linear(dim, hidden, bias=False)
        self.of_product = nn.Parameter(torch.empty(hidden, dim))
        nn.init.kaiming_uniform_(self.of_product, a=math.sqrt(5))
        self.out = nn.Linear(hidden, 1, bias=False)

    def forward(self, targets: Tensor, entries: Tensor, seen: Tensor) -> Tensor:
        """Targets (M, D), entries (R, L, D), which of them exist (R, L) -> (R, M, D); 0 for an empty history."""
        of_entry = targets.unsqueeze(1) * self.of_product + self.of_entry.weight  # (M, A, D): W (t * s) is (W * t) s
        products = functional.linear(entries, of_entry.flatten(0, 1), self.of_target(targets).flatten())
        hidden = functional.relu(products, inplace=True).unflatten(2, of_entry.shape[:2])  # (R, L, M, A)
        logits = self.out(hidden).squeeze(3).float()  # (R, L, M)
        here = seen.unsqueeze(2)
        alpha = torch.softmax(logits.masked_fill(~here, torch.finfo(logits.dtype).min), dim=1) * here
        return torch.einsum("rlm,rld->rmd", alpha, entries)


class UserTower(QueryInputs):
    """Query, user and history as each of M meta queries sees them -> (R, M, H_u*p), of length 1."""

    cuts: Tensor

    def __init__(self, spec: FeatureSpec, config: TrainConfig, out: int, extra: int):
        super().__init__(spec, config, extra)
        self.attention = TargetAttention(config.dim, config.fit.attention_hidden)
        widths = (*config.hidden, out)
        self.norm = nn.LayerNorm(self.width)
        self.of_user = nn.Linear(self.width, widths[0])
        self.of_meta = nn.Linear(config.dim, widths[0], bias=False)
        self.of_history = nn.Linear(config.dim, widths[0], bias=False)
        layers: list[nn.Module] = []
        for width, following in pairwise(widths):
            layers += [nn.ReLU(), nn.LayerNorm(width), nn.Dropout(config.dropout), nn.Linear(width, following)]
        if layers:
            last = layers[-1]
            assert isinstance(last, nn.Linear)
            nn.init.normal_(last.weight, std=0.5 / (last.in_features * config.dim) ** 0.5)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers)
        # Head i of the user side meets the same cut of the text vector as head i of the item side.
        self.register_buffer("cuts", torch.arange(out) % config.dim, persistent=False)

    def forward(
        self, tables: Tables, queries: QueryFeatures, targets: Tensor, entries: Tensor, *extra: Tensor
    ) -> Tensor:
        x, text = self.inputs(tables, queries, *extra)
        history = self.attention(targets, entries, queries.history_action > 0)  # (R, M, D)
        first = self.of_user(self.norm(x)).unsqueeze(1) + self.of_meta(targets) + self.of_history(history)
        blocks = self.layers(first)  # (R, M, hidden) -> (R, M, H_u*p)
        return functional.normalize(blocks + text[:, self.cuts].unsqueeze(1), dim=-1)


class SimilarityScorer(nn.Module):
    """Logits (P, H) from the similarities of all heads of the user side with all of the item side."""

    def __init__(self, user_heads: int, item_heads: int, head_dim: int, width: int, heads: int):
        super().__init__()
        self.user_heads, self.item_heads, self.head_dim, self.width = user_heads, item_heads, head_dim, width
        # Heads share a length of 1: the entries of an untrained S have spread (H_u H_v p) ** -0.5.
        start = (user_heads * item_heads * head_dim) ** 0.5
        self.rho = nn.Parameter(torch.tensor(math.log(math.expm1(start))))
        self.rows = nn.Linear(item_heads, width)
        self.columns = nn.Linear(user_heads, width)
        self.out = nn.Linear(width * width, heads)
        nn.init.normal_(self.out.weight, std=1 / width)
        if width >= max(2 * item_heads, user_heads):
            self._start_as_dot_product(START_DOT_WEIGHT / start)

    @torch.no_grad()
    def _start_as_dot_product(self, weight: float) -> None:
        """Start at weight * c tr S, up to a tenth of the usual random weights.

        W_r = [I, -I] and W_c = [I, 0] carry the positive and the negative part of each entry of S through both ReLUs.
        """
        for layer in (self.rows, self.columns, self.out):
            layer.weight.mul_(0.1)
            nn.init.zeros_(layer.bias)
        user, item = torch.arange(self.user_heads), torch.arange(self.item_heads)
        self.rows.weight[item, item] += 1
        self.rows.weight[self.item_heads + item, item] -= 1
        self.columns.weight[user, user] += 1
        out = self.out.weight.unflatten(1, (self.width, self.width))  # (H, row outputs, column outputs)
        both = torch.arange(min(self.user_heads, self.item_heads))
        out[:, both, both] += weight
        out[:, self.item_heads + both, both] -= weight

    def start_at(self, base_rates: Tensor) -> None:
        with torch.no_grad():
            self.out.bias.copy_(torch.logit(base_rates, eps=1e-4))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """User side (P, H_u*p), item side (P, H_v*p)."""
        z_u = user.unflatten(1, (self.user_heads, self.head_dim))
        z_v = item.unflatten(1, (self.item_heads, self.head_dim))
        similarity = functional.softplus(self.rho) * torch.bmm(z_u, z_v.transpose(1, 2))  # (P, H_u, H_v)
        by_row = torch.relu(self.rows(similarity))  # (P, H_u, o)
        by_column = torch.relu(self.columns(by_row.transpose(1, 2)))  # (P, o, o)
        logits: Tensor = self.out(by_column.flatten(1))
        return logits

    def flops(self) -> int:
        """Per pair, as served: the output layer blended by the weights of the heads, c folded into W_r."""
        similarity = 2 * self.user_heads * self.item_heads * self.head_dim
        layers = 2 * self.user_heads * self.item_heads * self.width + 2 * self.width * self.user_heads * self.width
        return similarity + layers + 2 * self.width**2


class Fit(Ranker):
    """Sides: q (R, N*H_u*p), one user vector per meta query.

    v in training: (items, H_v*p + N), the item vector and its shares k of the meta queries.
    v in eval: (items, H_v*p + 1), the item vector and the index of its meta query, a whole number.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        config: TrainConfig,
        scaling: CrossScaling,
        numerics: NumericStatistics,
        history: HistoryEntries | None = None,
        extra: int = 0,
    ):
        super().__init__(spec.head_weights, config.dim)
        fit = config.fit
        if config.dim % fit.item_heads:
            raise TrainingError(
                f"train.fit.item_heads is {fit.item_heads} and train.dim is {config.dim}: the item vector is cut into "
                f"heads of one width. Choose a number of heads that divides train.dim."
            )
        self.head_dim = config.dim // fit.item_heads
        self.schedule = (fit.tau_min, fit.tau_share)
        self.tables = Tables(spec, config)
        self.meta = MetaQueries(spec, config)
        self.history = history or HistoryEntries(spec, config)
        self.user_tower = UserTower(spec, config, fit.user_heads * self.head_dim, extra)
        self.item_tower = ItemTower(spec, config, numerics)
        self.scorer = SimilarityScorer(fit.user_heads, fit.item_heads, self.head_dim, fit.scorer_width, self.heads)

    def encode_query(self, queries: QueryFeatures) -> Tensor:
        return self.user_vectors(queries, self.meta.targets()).flatten(1)

    def served_vectors(self, queries: QueryFeatures, indices: Tensor) -> Tensor:
        """User vectors (R, M, H_u*p) of only the given meta queries (M,): those that a request's items have."""
        return self.user_vectors(queries, self.meta.targets()[indices])

    def user_vectors(self, queries: QueryFeatures, targets: Tensor) -> Tensor:
        """(R, M, H_u*p) as the targets (M, D) see the user."""
        entries = self.history.entries(self.tables, queries)
        vectors: Tensor = self.user_tower(self.tables, queries, targets, entries)
        return vectors

    def encode_item(self, items: ItemFeatures) -> Tensor:
        v = self.item_tower(self.tables, items)  # (items, H_v*p)
        affinity = self.meta.affinity(self.tables, items)
        picked = self.meta.shares(affinity) if self.training else affinity.argmax(dim=1, keepdim=True)
        return torch.cat([v, picked.to(v.dtype)], dim=1)

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        item, picked = v[:, : self.dim], v[:, self.dim :]
        user = self._mixed(q, picked) if self.training else self._gathered(q, picked[:, 0])
        logits: Tensor = self.scorer(user, item)
        return logits

    def cost(self) -> Cost:
        """Of a pair whose user vectors are there. The index counts as one number of 4 bytes; a byte or two would do.

        2 H_u H_v p + 2 H_u H_v o + 2 o H_u o + 2 o^2, as in section 10 of the research notes (1,920 for 4, 4, 32, 8).
        """
        return Cost(flops=self.scorer.flops(), bytes=4 * (self.dim + 1))

    def start_at(self, base_rates: Tensor) -> None:
        self.scorer.start_at(base_rates)

    def at_step(self, share: float) -> None:
        """Linearly from 1 to tau_min, which is reached at tau_share of all steps."""
        tau_min, tau_share = self.schedule
        self.meta.tau.fill_(max(1 - (1 - tau_min) * share / tau_share, tau_min))

    def watched(self, batch: Batch) -> dict[str, float]:
        """Is the soft choice the hard one (1: yes), are all meta queries in use (entropy 1: evenly), how long is Q*?"""
        affinity = self.meta.affinity(self.tables, batch.items)
        index = affinity.argmax(dim=1)  # (items,)
        q = self.encode_query(batch.queries)[batch.pair_query]
        soft = self._mixed(q, self.meta.shares(affinity)[batch.pair_item])
        hard = self._gathered(q, index[batch.pair_item])
        count = len(self.meta.queries)
        used = torch.bincount(index, minlength=count) / max(len(index), 1)
        runs = torch.unique(batch.pair_query * count + index[batch.pair_item])
        return {
            "soft_hard_agreement": float(functional.cosine_similarity(soft, hard).sum() / max(len(soft), 1)),
            "index_entropy": float(torch.special.entr(used).sum() / math.log(count)),
            "indices_per_request": len(runs) / max(len(batch.queries), 1),
            "meta_query_norm": float(self.meta.group().norm(dim=1).mean()),
        }

    def _mixed(self, q: Tensor, shares: Tensor) -> Tensor:
        """(P, N*H_u*p), k (P, N) -> (P, H_u*p), of length 1."""
        vectors = q.unflatten(1, (-1, self.scorer.user_heads * self.head_dim))
        return functional.normalize(torch.einsum("pn,pnd->pd", shares, vectors), dim=-1)

    def _gathered(self, q: Tensor, index: Tensor) -> Tensor:
        """(P, N*H_u*p), index (P,) -> (P, H_u*p)."""
        vectors = q.unflatten(1, (-1, self.scorer.user_heads * self.head_dim))
        return vectors[torch.arange(q.shape[0], device=q.device), index.long()]
