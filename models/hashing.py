"""Strings and ages to bucket ids, the same in every process: crc32, each distinct string hashed once."""

import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_WORD = re.compile(r"\w+")
#: An action younger than an hour is in bucket 1; each further bucket is e times older: 1 h, 2.7 h, .. e^13 h.
AGE_EDGES_SECONDS = 3600.0 * np.exp(np.arange(14))
AGE_BUCKETS = len(AGE_EDGES_SECONDS) + 2


def words(text: str) -> list[str]:
    """Lower-case words of a text, in order."""
    return _WORD.findall(text.lower())


def text_features(text: str, ngram: int) -> list[str]:
    """Distinct words, then the character n-grams of each padded word: order decides what truncation keeps."""
    found = list(dict.fromkeys(words(text)))
    features = [f"w:{word}" for word in found]
    for word in found:
        padded = f"<{word}>"
        features += [f"g:{padded[at : at + ngram]}" for at in range(len(padded) - ngram + 1)]
    return list(dict.fromkeys(features))


def bucket(value: str, buckets: int) -> int:
    """1 .. buckets-1 for a value, 0 for the empty string."""
    return 1 + zlib.crc32(value.encode("utf-8")) % (buckets - 1) if value else 0


def bucket_ids(values: Iterable[str], buckets: int) -> npt.NDArray[np.int32]:
    """Buckets (n,) of n strings."""
    known: dict[str, int] = {}
    ids = [known[value] if value in known else known.setdefault(value, bucket(value, buckets)) for value in values]
    return np.array(ids, dtype=np.int32)


def text_ids(texts: Sequence[str], buckets: int, ngram: int, width: int) -> npt.NDArray[np.int32]:
    """Hashed text features (n, width) of n texts, padded with 0."""
    out = np.zeros((len(texts), width), dtype=np.int32)
    hashed: dict[str, int] = {}
    rows: dict[str, npt.NDArray[np.int32]] = {}
    for index, text in enumerate(texts):
        if text not in rows:
            features = text_features(text, ngram)[:width]
            for feature in features:
                if feature not in hashed:
                    hashed[feature] = bucket(feature, buckets)
            rows[text] = np.array([hashed[feature] for feature in features], dtype=np.int32)
        out[index, : len(rows[text])] = rows[text]
    return out


def age_buckets(age_seconds: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Buckets 1 .. AGE_BUCKETS-1 of ages in seconds; 0 stays free for padding."""
    return (1 + np.searchsorted(AGE_EDGES_SECONDS, age_seconds, side="right")).astype(np.int32)
