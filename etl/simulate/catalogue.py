"""Items: a tree of departments and leaves, text of leaf, attribute and brand words, and what text does not tell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEAVES_PER_DEPARTMENT = 8
ITEMS_PER_LEAF = 50
LEAF_WORDS = 3
"""Words that a leaf's items are called by; an item's text carries all but one. As many are used by queries only."""
ATTRIBUTES_PER_LEAF = 10
ATTRIBUTES_PER_ITEM = 3
STYLE_DIMS = 8
"""Rank of the hidden styles."""
BRAND_DIMS = 4
TASTE_DIMS = BRAND_DIMS + 1 + 4
"""What tastes look at: the brand's character, the price, and four of the styles."""
_FILLERS = 100
_SYLLABLES = [*(c + v for c in "bdfgklmnprst" for v in "aeiou"), "né", "lö"][2:]


@dataclass(frozen=True)
class Words:
    """The vocabulary; ``*_gap`` words are used by queries, never by items."""

    department: list[str]
    leaf: list[str]
    leaf_text: list[list[str]]
    leaf_gap: list[list[str]]
    attribute_text: list[str]
    attribute_gap: list[str]
    brand: list[str]
    filler: list[str]


@dataclass(frozen=True)
class Catalogue:
    """Arrays over n items. ``quality``, ``style`` and the waves appear in no column of the written catalogue."""

    words: Words
    leaf: Ints  # (n,); its department is leaf // LEAVES_PER_DEPARTMENT
    leaf_attributes: Ints  # (leaves, ATTRIBUTES_PER_LEAF): those that its items can have
    attributes: Bools  # (n, attributes)
    has_word: Bools  # (n, LEAF_WORDS): which of its leaf's words stand in the text
    brand: Ints  # (n,)
    price: NDArray[np.float64]  # (n,)
    first_seen_day: Ints  # (n,) days since 1970
    text: list[str]
    quality: Floats  # (n,) standard normal
    popularity: Floats  # (n,) standard normal, what the shop's ranker believes of quality
    style: Floats  # (n, STYLE_DIMS) standard normal
    taste: Floats  # (n, TASTE_DIMS), of standard deviation 1
    wave_days: Floats  # (n, 2) periods of the item's own season and of its first attribute's
    wave_phase: Floats  # (n, 2) radians

    @property
    def leaves(self) -> int:
        return len(self.leaf_attributes)

    @property
    def departments(self) -> int:
        return self.leaves // LEAVES_PER_DEPARTMENT

    def __len__(self) -> int:
        return len(self.leaf)


def build_catalogue(
    rng: np.random.Generator, items: int, start_day: int, days: int, new_item_share: float
) -> Catalogue:
    """Draw a catalogue of ``items`` for a log of ``days`` from ``start_day`` (days since 1970)."""
    leaves = LEAVES_PER_DEPARTMENT * max(1, round(items / (LEAVES_PER_DEPARTMENT * ITEMS_PER_LEAF)))
    attributes = max(2 * ATTRIBUTES_PER_LEAF, 2 * leaves // 3)
    brands = 2 * leaves
    words = _words(rng, leaves, attributes, brands)
    leaf = rng.permutation(np.arange(items) % leaves)
    leaf_attributes = rng.random((leaves, attributes)).argsort(axis=1)[:, :ATTRIBUTES_PER_LEAF]
    own = rng.random((items, ATTRIBUTES_PER_LEAF)).argsort(axis=1)[:, :ATTRIBUTES_PER_ITEM]
    of_item = np.take_along_axis(leaf_attributes[leaf], own, axis=1)
    has_attribute = np.zeros((items, attributes), dtype=np.bool_)
    np.put_along_axis(has_attribute, of_item, True, axis=1)
    has_word = np.arange(LEAF_WORDS) != rng.integers(0, LEAF_WORDS, items)[:, None]
    brand = rng.integers(0, brands, items)
    price_level = rng.standard_normal(items)
    style = rng.standard_normal((items, STYLE_DIMS), dtype=np.float32)
    quality = rng.standard_normal(items, dtype=np.float32)
    brand_character = rng.standard_normal((brands, BRAND_DIMS), dtype=np.float32)
    taste = np.column_stack([brand_character[brand], price_level, style[:, : TASTE_DIMS - BRAND_DIMS - 1]])
    is_new = rng.random(items) < new_item_share
    age_days = rng.integers(1, 366, items)
    born = rng.integers(0, days, items)
    attribute_wave = rng.random((attributes, 2))
    wave = np.stack([rng.random((items, 2)), attribute_wave[of_item[:, 0]]], axis=1)
    return Catalogue(
        words=words,
        leaf=leaf,
        leaf_attributes=leaf_attributes,
        attributes=has_attribute,
        has_word=has_word,
        brand=brand,
        price=np.round(np.exp(rng.normal(3.0, 0.7, leaves)[leaf] + 0.5 * price_level), 2),
        first_seen_day=np.where(is_new, start_day + born, start_day - age_days),
        text=_texts(rng, words, leaf, of_item, has_word, brand),
        quality=quality,
        popularity=(0.5 * quality + 0.75**0.5 * rng.standard_normal(items, dtype=np.float32)).astype(np.float32),
        style=style,
        taste=taste.astype(np.float32),
        wave_days=(28 + 56 * wave[:, :, 0]).astype(np.float32),
        wave_phase=(2 * np.pi * wave[:, :, 1]).astype(np.float32),
    )


def _words(rng: np.random.Generator, leaves: int, attributes: int, brands: int) -> Words:
    departments = leaves // LEAVES_PER_DEPARTMENT
    sizes = (departments, leaves, leaves * LEAF_WORDS, leaves * LEAF_WORDS, attributes, attributes, brands, _FILLERS)
    pool = iter(_distinct_words(rng, sum(sizes)))
    parts = [[next(pool) for _ in range(size)] for size in sizes]
    by_leaf = [[part[k : k + LEAF_WORDS] for k in range(0, len(part), LEAF_WORDS)] for part in parts[2:4]]
    return Words(parts[0], parts[1], by_leaf[0], by_leaf[1], *parts[4:])


def _distinct_words(rng: np.random.Generator, count: int) -> list[str]:
    """Pronounceable words; about one in ten carries an accent, so that normalisation has work."""
    base = len(_SYLLABLES)
    length = 3
    while base**length < 4 * count:
        length += 1
    codes = rng.choice(base**length, size=count, replace=False)
    return ["".join(_SYLLABLES[code // base**k % base] for k in range(length)) for code in codes.tolist()]


def _texts(
    rng: np.random.Generator, words: Words, leaf: Ints, attributes: Ints, has_word: Bools, brand: Ints
) -> list[str]:
    """Brand, attributes, leaf words and up to four words that mean nothing, so that texts differ in length."""
    fillers = rng.integers(0, _FILLERS, (len(leaf), 4))
    lengths = rng.integers(0, 5, len(leaf))
    texts = []
    for i, (of_leaf, of_brand, length) in enumerate(zip(leaf.tolist(), brand.tolist(), lengths.tolist(), strict=True)):
        parts = [words.brand[of_brand]]
        parts += [words.attribute_text[a] for a in attributes[i].tolist()]
        parts += [word for word, has in zip(words.leaf_text[of_leaf], has_word[i].tolist(), strict=True) if has]
        parts += [words.filler[f] for f in fillers[i, :length].tolist()]
        texts.append(" ".join(parts))
    return texts
