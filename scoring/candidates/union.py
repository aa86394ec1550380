"""Several sources' lists of items as one list."""

from pyspark.sql import Column
from pyspark.sql import functions as F


def round_robin(*lists: Column) -> Column:
    """array<string>: the first of each list in the order of the lists, then the second of each, and so on.

    An item stands where it comes first. So every prefix of the list is a mixture of all sources. Lists may be null.
    """
    held = [F.coalesce(one, F.array().cast("array<string>")) for one in lists]
    longest = F.array_max(F.array(F.lit(1), *(F.size(one) for one in held)))
    rounds = F.transform(F.sequence(F.lit(0), longest - 1), lambda place: F.array(*(F.get(one, place) for one in held)))
    return F.array_distinct(F.array_compact(F.flatten(rounds)))
