"""Queries: what each asks for, how it is worded, how often it comes, and the pool that retrieval returns for it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etl.simulate.catalogue import (
    ATTRIBUTES_PER_LEAF,
    LEAF_WORDS,
    LEAVES_PER_DEPARTMENT,
    STYLE_DIMS,
    Bools,
    Catalogue,
    Floats,
    Ints,
)
from etl.simulate.config import SimulateConfig

#: Shares of the hidden affinity's variance: the item's quality, its style for this query, the pair's own part.
_QUALITY, _STYLE, _PAIR = 0.25, 0.375, 0.375
_ATTRIBUTE_COUNTS = (0.3, 0.5, 0.2)
SPELLINGS = 4


@dataclass(frozen=True)
class Queries:
    """Arrays over q queries, those of a department together; each has a pool of p items in order of retrieval."""

    leaf: Ints  # (q,)
    attributes: Ints  # (q, 2), -1 for none
    gap: Bools  # (q,): none of its words stands in any item's text
    spellings: list[str]  # (q * SPELLINGS): as typed, tidy spelling first
    cumulative: NDArray[np.float64]  # (q + 1,) share of traffic before each query
    department_start: Ints  # (departments + 1,) first query of each department
    pool: Ints  # (q, p) items
    pool_text: Floats  # (q, p) score of the words that query and text share, as the shop's ranker sees it
    pool_logit: Floats  # (q, p) relevance and hidden affinity, which stay as they are
    pool_hidden: Floats  # (q, p) the hidden part of pool_logit

    def __len__(self) -> int:
        return len(self.leaf)


def build_queries(rng: np.random.Generator, catalogue: Catalogue, count: int, knobs: SimulateConfig) -> Queries:
    """Draw at most ``count`` distinct queries."""
    leaf, attributes, word = _intents(rng, catalogue, count)
    count = len(leaf)
    gap = rng.random(count) < knobs.gap_share
    rank = rng.permutation(count) + 1
    weight = (rank + knobs.zipf_offset) ** -knobs.zipf_exponent
    departments = np.arange(catalogue.departments + 1)
    pools = _pools(rng, catalogue, leaf, attributes, word, gap, knobs)
    return Queries(
        leaf=leaf,
        attributes=attributes,
        gap=gap,
        spellings=_spellings(catalogue, leaf, attributes, word, gap),
        cumulative=np.concatenate([[0.0], np.cumsum(weight / weight.sum())]),
        department_start=np.searchsorted(leaf // LEAVES_PER_DEPARTMENT, departments),
        pool=pools[0],
        pool_text=pools[1],
        pool_logit=pools[2],
        pool_hidden=pools[3],
    )


def _intents(rng: np.random.Generator, catalogue: Catalogue, count: int) -> tuple[Ints, Ints, Ints]:
    """Distinct (leaf, attributes, leaf word), sorted by leaf."""
    tries = 4 * count
    leaf = rng.integers(0, catalogue.leaves, tries)
    chosen = np.sort(rng.random((tries, ATTRIBUTES_PER_LEAF)).argsort(axis=1)[:, :2], axis=1)
    attributes = catalogue.leaf_attributes[leaf[:, None], chosen]
    held = rng.choice(len(_ATTRIBUTE_COUNTS), tries, p=_ATTRIBUTE_COUNTS)
    attributes = np.where(np.arange(2) < held[:, None], attributes, -1)
    word = rng.integers(0, LEAF_WORDS, tries)
    rows = np.column_stack([leaf, attributes, word])
    _, first = np.unique(rows, axis=0, return_index=True)
    rows = rows[np.sort(first)[:count]]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return rows[:, 0], rows[:, 1:3], rows[:, 3]


def _spellings(catalogue: Catalogue, leaf: Ints, attributes: Ints, word: Ints, gap: Bools) -> list[str]:
    words = catalogue.words
    spellings = []
    for row in zip(leaf.tolist(), attributes.tolist(), word.tolist(), gap.tolist(), strict=True):
        of_leaf, of_query, number, is_gap = row
        attribute_words = words.attribute_gap if is_gap else words.attribute_text
        leaf_words = words.leaf_gap if is_gap else words.leaf_text
        text = " ".join([attribute_words[a] for a in of_query if a >= 0] + [leaf_words[of_leaf][number]])
        spellings += [text, text.title(), text.upper(), f" {text.replace(' ', '  ')} "]
    return spellings


def _pools(
    rng: np.random.Generator,
    catalogue: Catalogue,
    leaf: Ints,
    attributes: Ints,
    word: Ints,
    gap: Bools,
    knobs: SimulateConfig,
) -> tuple[Ints, Floats, Floats, Floats]:
    """Pools of every query, a department at a time: only its items can be retrieved, so the work grows linearly."""
    style = _query_styles(rng, catalogue, leaf, attributes)
    shape = (len(leaf), knobs.pool_items)
    pool = np.empty(shape, dtype=np.int64)
    text, logit, hidden = (np.empty(shape, dtype=np.float32) for _ in range(3))
    for department in range(catalogue.departments):
        items = np.flatnonzero(catalogue.leaf // LEAVES_PER_DEPARTMENT == department)
        queries = np.flatnonzero(leaf // LEAVES_PER_DEPARTMENT == department)
        same_leaf = leaf[queries, None] == catalogue.leaf[items]
        wanted, found = _attribute_matches(catalogue, attributes[queries], items)
        share = np.where(wanted[:, None] > 0, found / np.maximum(wanted, 1)[:, None], same_leaf)
        popularity = catalogue.popularity[items]
        retrieval = 1.5 * same_leaf + share + 0.3 * popularity + 0.5 * rng.gumbel(size=same_leaf.shape)
        best = np.argsort(-retrieval, axis=1, kind="stable")[:, : knobs.pool_items]
        pool[queries] = items[best]
        same_leaf, share, found = (np.take_along_axis(part, best, axis=1) for part in (same_leaf, share, found))
        leaf_word = same_leaf & catalogue.has_word[items[best], word[queries, None]]
        text[queries] = np.where(gap[queries, None], 0.0, 2.0 * leaf_word + found)
        hidden[queries] = knobs.hidden_strength * _hidden(rng, catalogue, style[queries], items[best])
        relevance = knobs.base_logit + knobs.off_leaf_logit * ~same_leaf + knobs.attribute_logit * share
        logit[queries] = relevance + hidden[queries]
    return pool, text, logit, hidden


def _attribute_matches(catalogue: Catalogue, attributes: Ints, items: Ints) -> tuple[Ints, Ints]:
    """How many attributes each query wants (q,), and how many of them each item has (q, n)."""
    has = catalogue.attributes[items].T
    wanted = (attributes >= 0).sum(axis=1)
    found = (has[attributes] & (attributes >= 0)[:, :, None]).sum(axis=1)
    return wanted, found


def _query_styles(rng: np.random.Generator, catalogue: Catalogue, leaf: Ints, attributes: Ints) -> Floats:
    """Which styles a query asks for, unsaid: a part of its leaf, one of its first attribute, one of its own."""
    of_leaf = rng.standard_normal((catalogue.leaves, STYLE_DIMS))
    of_attribute = rng.standard_normal((catalogue.attributes.shape[1] + 1, STYLE_DIMS))
    own = rng.standard_normal((len(leaf), STYLE_DIMS))
    return ((of_leaf[leaf] + of_attribute[attributes[:, 0]] + own) / 3**0.5).astype(np.float32)


def _hidden(rng: np.random.Generator, catalogue: Catalogue, style: Floats, pool: Ints) -> Floats:
    """Affinity (q, p) of standard deviation 1 that no text tells."""
    fits = np.einsum("qd,qpd->qp", style, catalogue.style[pool]) / STYLE_DIMS**0.5
    own = rng.standard_normal(pool.shape)
    hidden = _QUALITY**0.5 * catalogue.quality[pool] + _STYLE**0.5 * fits + _PAIR**0.5 * own
    return hidden.astype(np.float32)
