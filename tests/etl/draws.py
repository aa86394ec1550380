"""Sampling and negatives as plainly as possible, with Spark's hash written down anew."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from etl.config import EtlConfig
from etl.contract.dates import DateRange
from tests.etl import reference, reference_rows

_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MASK = 2**64 - 1


def xxh64(data: bytes, seed: int) -> int:
    """XXH64 of fewer than 32 bytes, as its specification has it."""
    assert len(data) < 32
    found, at = (seed + _P5 + len(data)) & _MASK, 0
    while at + 8 <= len(data):
        word = _rotated(int.from_bytes(data[at : at + 8], "little") * _P2, 31) * _P1
        found, at = (_rotated(found ^ (word & _MASK), 27) * _P1 + _P4) & _MASK, at + 8
    if at + 4 <= len(data):
        word = int.from_bytes(data[at : at + 4], "little") * _P1
        found, at = (_rotated(found ^ (word & _MASK), 23) * _P2 + _P3) & _MASK, at + 4
    for byte in data[at:]:
        found = _rotated(found ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    found = (found ^ found >> 33) * _P2 & _MASK
    found = (found ^ found >> 29) * _P3 & _MASK
    return found ^ found >> 32


def _rotated(word: int, bits: int) -> int:
    word &= _MASK
    return (word << bits | word >> 64 - bits) & _MASK


def spark_hash(*values: str | int) -> int:
    """What ``xxhash64`` of text and bigint columns gives, as the unsigned number."""
    found = 42
    for value in values:
        data = value.encode() if isinstance(value, str) else value.to_bytes(8, "little", signed=True)
        found = xxh64(data, found)
    return found


def signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def stays(request_id: str, item_id: str, rate: float, seed: int) -> bool:
    """With probability ``rate``, decided by the upper 53 bits of the hash."""
    return spark_hash(request_id, item_id, seed) // 2**11 < rate * 2**53


def sampled(
    rows: Mapping[tuple[str, str], dict[str, Any]], train_days: Collection[str], config: EtlConfig
) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows (as reference_rows.training_rows gives them) that stay, with their weights."""
    rate, seed = config.export.impression_sampling_rate, config.export.sampling_seed
    kept = {}
    for key, row in rows.items():
        if row["acted"] or row["ds"] not in train_days:
            kept[key] = row
        elif stays(*key, rate, seed):
            kept[key] = row | {"weight": row["weight"] / rate}
    return kept


def candidates(events: Sequence[reference.Event], days: DateRange, config: EtlConfig) -> set[tuple[str, str]]:
    """(request_id, item_id): of what the query knew the day before, the lowest hashes that are not in the request."""
    drawn = set()
    for request_id, start in reference_rows.begun(events, days).items():
        ds = reference_rows.as_of(start["ds"], config.interactions.lag_days)
        known = {
            item for query, item, _, _ in reference.interactions(events, ds, config) if query == start["query_key"]
        }
        own = {event["item_id"] for event in reference_rows.counted(events, request_id, start["ds"], config)}
        drawn |= lowest(request_id, known - own, config)
    return drawn


def lowest(request_id: str, items: Iterable[str], config: EtlConfig) -> set[tuple[str, str]]:
    ranked = sorted(items, key=lambda item: signed(spark_hash(request_id, item, config.export.sampling_seed)))
    return {(request_id, item) for item in ranked[: config.export.negatives_per_request]}


def from_catalogue(request_id: str, own: Collection[str], items: Iterable[str], config: EtlConfig) -> list[str]:
    """Items at hashed places of the catalogue in the order of ids; repeats and own items are passed over."""
    in_order, wanted, found = sorted(items), config.export.negatives_per_request, []
    for k in range(1, 2 * (wanted + len(own)) + 17):
        item = in_order[signed(spark_hash(request_id, k, config.export.sampling_seed)) % len(in_order)]
        if item not in found and item not in own:
            found.append(item)
    return found[:wanted]


def catalogue(
    events: Sequence[reference.Event], days: DateRange, config: EtlConfig, snapshots: Mapping[str, Sequence[str]]
) -> set[tuple[str, str]]:
    """(request_id, item_id) from the newest snapshot that the request's day may see."""
    drawn = set()
    for request_id, start in reference_rows.begun(events, days).items():
        seen = max(day for day in snapshots if day <= reference_rows.as_of(start["ds"], config.interactions.lag_days))
        own = {event["item_id"] for event in reference_rows.counted(events, request_id, start["ds"], config)}
        drawn |= {(request_id, item) for item in from_catalogue(request_id, own, snapshots[seen], config)}
    return drawn
