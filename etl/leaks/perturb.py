"""Another future: everything after the cut dropped, repeated, shuffled, and flooded with what came before it.

Deterministic by seed. Each change keeps an event at or after the cut of its user (see etl.leaks.cuts).
"""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract.dates import DateRange, day_number, shift_ds
from etl.events import EVENT_COLUMNS
from etl.kernels.codes import Ints
from etl.leaks.cuts import CHANGES, CUT

#: What became of an event: the column that says so, and its values.
CHANGE = "change"
UNTOUCHED, SHUFFLED, DUPLICATED, INSERTED = "untouched", "shuffled", "duplicated", "inserted"

# Parts of a day's events; the rest stay, so that some rows after the cut can still be found and seen to move.
_DROPPED, _DUPLICATED, _SHUFFLED = 0.1, 0.1, 0.4
# What is dealt out anew together.
_DECKS = (("item_id",), ("query", "query_key"), ("action",))
_USERS = ("user_id", "segments")


def perturbed(marked: DataFrame, cut_ds: str, days: DateRange, engaging: Sequence[str], seed: int) -> DataFrame:
    """The events of ``with_cuts`` in another future, with the column ``change``.

    ``days`` is the range of the rows; ``engaging`` are the actions that inserted events have.
    """
    columns = [F.col(name) for name in EVENT_COLUMNS]
    past = marked.where(~F.col(CHANGES)).select(*columns, F.lit(UNTOUCHED).alias(CHANGE))
    future = marked.where(CHANGES).select(*columns)
    schema = f"{', '.join(f'{field.name} {field.dataType.simpleString()}' for field in future.schema)}, {CHANGE} string"
    shuffled = future.groupBy("ds").applyInArrow(_kernel(cut_ds, seed), schema)
    return past.unionByName(shuffled).unionByName(_inserted(marked, cut_ds, days, engaging, seed))


def _kernel(cut_ds: str, seed: int) -> Callable[[pa.Table], pa.Table]:
    def run(day: pa.Table) -> pa.Table:
        ds = day["ds"][0].as_py()
        # On the day of the cut another user's event could come to lie before its new user's cut.
        return changed_day(day, [seed, day_number(ds)], users=ds > cut_ds)

    return run


def changed_day(day: pa.Table, seed: Sequence[int], users: bool) -> pa.Table:
    """The events of one day with some dropped, some repeated under a new event_id, and some shuffled.

    Shuffled events exchange their items, queries and actions, each on its own, and their users where ``users``.
    """
    day = day.take(pc.sort_indices(day["event_id"]))
    draw = np.random.default_rng(list(seed))
    part = draw.random(len(day))
    repeated = np.flatnonzero((part >= _DROPPED) & (part < _DROPPED + _DUPLICATED))
    moved = np.flatnonzero((part >= _DROPPED + _DUPLICATED) & (part < _DROPPED + _DUPLICATED + _SHUFFLED))
    source: dict[str, Ints] = {}
    for deck in (*_DECKS, *([_USERS] if users else [])):
        dealt = np.arange(len(day))
        dealt[moved] = draw.permutation(moved)
        source |= dict.fromkeys(deck, dealt)
    columns = {name: day[name].take(source[name]) if name in source else day[name] for name in day.column_names}
    fate = np.where(np.isin(np.arange(len(day)), moved), SHUFFLED, UNTOUCHED)
    columns[CHANGE] = pa.array(fate.tolist(), pa.string())
    future = pa.table(columns, schema=day.schema.append(pa.field(CHANGE, pa.string())))
    again = future.take(repeated)
    ids = pc.binary_join_element_wise(again["event_id"], "again", "~")
    again = pa.table(
        {**dict(zip(again.column_names, again.columns, strict=True)), "event_id": ids,
         CHANGE: pa.array([DUPLICATED] * len(again), pa.string())}, schema=future.schema
    )  # fmt: skip
    return pa.concat_tables([future.filter(pa.array(part >= _DROPPED)), again])


def _inserted(marked: DataFrame, cut_ds: str, days: DateRange, engaging: Sequence[str], seed: int) -> DataFrame:
    """Engagements after the cut with the very pairs that rows before it hold.

    Each event of the range before the cut comes again twice, in requests of its own: exactly at its user's cut, and at
    some second from there to the end of the range.
    """
    held = marked.where(~F.col(CHANGES) & F.col("ds").between(days.start, cut_ds))
    end = F.lit(f"{shift_ds(days.end, 1)} 00:00:00").cast("timestamp")
    left = F.greatest(F.unix_seconds(end) - F.unix_seconds(CUT) - 1, F.lit(1))
    later = F.pmod(_hash(seed, "later"), left)
    copies = [_copies(held, "cut", F.lit(0), engaging, seed), _copies(held, "later", later, engaging, seed)]
    return copies[0].unionByName(copies[1])


def _copies(held: DataFrame, name: str, seconds: Column, engaging: Sequence[str], seed: int) -> DataFrame:
    actions = F.array(*(F.lit(action) for action in engaging))
    ts = F.timestamp_micros(F.unix_micros(CUT) + seconds.cast("bigint") * 1_000_000)
    action = F.get(actions, F.pmod(_hash(seed, "action", name), F.lit(len(engaging))).cast("int"))
    ids = {key: F.concat(F.lit(f"leaks-{name}-"), F.col("event_id")) for key in ("event_id", "request_id")}
    changed = held.withColumns({**ids, "ts": ts, "action": action, "position": F.lit(None).cast("int")})
    changed = changed.withColumns({"ds": F.date_format("ts", "yyyy-MM-dd"), CHANGE: F.lit(INSERTED)})
    return changed.select(*EVENT_COLUMNS, CHANGE)


def _hash(seed: int, *what: str) -> Column:
    return F.xxhash64(F.lit(seed), *map(F.lit, what), F.col("event_id"))


def other_catalogue(frame: DataFrame, held: Sequence[str], cut_ds: str) -> DataFrame:
    """Snapshots of ``cut_ds`` and later say something else of every id, and there is one of ``cut_ds`` in any case.

    ``held`` are the days of the snapshots, at least one.
    """
    before, after = frame.where(F.col("ds") < cut_ds), frame.where(F.col("ds") >= cut_ds)
    if cut_ds not in held and min(held) < cut_ds:
        newest = max(ds for ds in held if ds < cut_ds)
        after = after.unionByName(before.where(F.col("ds") == newest).withColumn("ds", F.lit(cut_ds)))
    other = {
        "text": F.concat(F.lit("changed "), F.col("text")),
        "categories": F.transform_values("categories", lambda _, value: F.concat(F.lit("changed "), value)),
        "numerics": F.transform_values("numerics", lambda _, value: value * 2 + 1),
        "dense": F.transform_values("dense", lambda _, vector: F.transform(vector, _other_number)),
    }
    return before.unionByName(after.withColumns(other))


def _other_number(value: Column) -> Column:
    return (value * 2 + 1).cast("float")
