"""What the simulated world is like, and where each number comes from.

The numbers come from published facts or plain reasoning, never from how well a model does. Effects are logits: a
strength is the standard deviation of that effect over the items that a request could see.
"""

import dataclasses
from dataclasses import dataclass

from etl.contract.errors import UnknownNameError

#: Effects that `without` can take away, and the fields that it sets to 0 for each.
EFFECTS: dict[str, tuple[str, ...]] = {
    "history": ("hidden_strength", "gap_share"),
    "gap": ("gap_share",),
    "drift": ("drift_strength",),
    "segments": ("country_strength", "gender_strength"),
    "tastes": ("taste_strength",),
    "position_bias": ("position_bias",),
    "noise": ("duplicate_rate", "late_rate", "bot_rate", "malformed_rate"),
}


#: The depth of a request lies within this of `mean_shown`.
DEPTH_SPREAD = 8
MAX_POOL_ITEMS = 250


@dataclass(frozen=True)
class SimulateConfig:
    zipf_exponent: float = 1.0
    """Query frequency falls as 1 / (rank + offset)^exponent. Web search logs are fitted by exponents of 0.8 to 1.1."""
    zipf_offset: float = 5.0
    """Mandelbrot's offset: the first query holds about 3% of the traffic, as in product search, not an eighth."""
    catalogue_items: int = 3000
    """Items in a log of a million rows. Grows as the square root of the rows (Heaps' law with exponent 0.5)."""
    distinct_queries: int = 1500
    """Queries in a log of a million rows; grows like the catalogue, so that queries recur more in a longer log."""
    user_requests_per_day: float = 0.5
    """An average user searches every other day; sets the number of users. Reasoned: habitual shoppers."""
    new_item_share: float = 0.15
    """Share of the catalogue first listed inside the range: a shop renews 5% of its offer a week. Reasoned."""
    mean_shown: int = 20
    """Impressions per request: the first screens of a grid; the depth of a request varies by 8 either way."""
    pool_items: int = 160
    """What retrieval returns for a query; the ranker shows the best of it. Reasoned: what three leaves hold;
    pre-rankers see hundreds to thousands."""
    base_logit: float = -2.5
    """An examined item that has all that the query asks for (attribute_logit on top) is engaged with in about 1 of 6
    cases: click-through at the first position of search is given as 10 to 30%; many searches end without a click."""
    off_leaf_logit: float = -1.5
    """A neighbouring category divides the odds by 4 to 5. Reasoned: some searches are loose, most are not."""
    attribute_logit: float = 1.0
    """An item with all attributes that the query asks for has e = 2.7 times the odds of one with none. Reasoned."""
    gap_share: float = 0.3
    """Share of queries whose words stand in no item text. Two people choose the same word for a thing in under 20% of
    cases (Furnas et al. 1987); a text of several words makes up for most of that."""
    hidden_strength: float = 1.0
    """Affinity of query and item that no text tells: quality, style, and the pair's own part. Reasoned: as much as text
    tells (over a pool, leaf and attributes together have a standard deviation of about 1)."""
    country_strength: float = 0.4
    gender_strength: float = 0.4
    """Segments shift what is liked, they do not reverse it: each under half of the hidden part. Reasoned."""
    drift_strength: float = 0.5
    """Seasons of items and attributes, smooth waves of 4 to 12 weeks (fashion, holidays). Reasoned: half of the hidden
    part."""
    taste_strength: float = 0.7
    """A user's liking of brands, prices and styles, which turns slowly (a year's cycle). Reasoned: between drift and
    hidden part."""
    favourite_share: float = 0.5
    """Share of a user's searches that lie in his two favourite departments; the others go anywhere. Reasoned."""
    position_bias: float = 0.5
    """An item at rank k is examined with probability k^-bias. 1 is the usual setting for lists (Joachims et al. 2017),
    0 is none; a grid of pictures shows several at once and lies between."""
    long_click_share: float = 0.5
    """Of clicks, those with a dwell time of 30 s or more, the usual bound of a satisfied click. Reasoned: half."""
    save_share: float = 0.15
    purchase_share: float = 0.05
    """Of clicks. Shops sell in 2 to 3% of visits, more after a product was opened; saving is cheaper than buying."""
    messy_query_share: float = 0.1
    """Share of requests typed with capitals or spare spaces, which normalisation takes away. Reasoned."""
    unknown_gender_share: float = 0.1
    """Share of users whose gender the log does not carry; they have no shift by gender either. Reasoned."""
    duplicate_rate: float = 0.01
    """Rows sent twice, with the same event_id, per good row: at-least-once delivery. Reasoned: 1 in 100."""
    late_rate: float = 0.02
    """Share of clicked impressions whose actions all come 1 to 2 days late, by their ts: a page left open. Reasoned."""
    malformed_rate: float = 0.005
    """Broken copies of impressions, per good row, spread evenly over four defects. Reasoned: 1 in 200."""
    bot_rate: float = 0.01
    """Share of rows by bots, as user-days of `bot_rows` rows; none in logs of under `bot_min_rows` rows. Reasoned."""
    bot_rows: int = 6000
    """Rows of a bot's day: above the 5000 at which ingest refuses a user-day."""
    bot_min_rows: int = 200_000
    """Below, a single bot's day would be more than 3% of the log."""
    candidate_requests: int = 400
    """Requests of the last day that come as candidate sets, to be scored in bulk."""

    def __post_init__(self) -> None:
        for name in ("gap_share", "new_item_share", "favourite_share", "late_rate", "messy_query_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share: expected 0 to 1, found {getattr(self, name)}")
        for field in dataclasses.fields(self):
            if not field.name.endswith("_logit") and getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} must be 0 or more, found {getattr(self, field.name)}")
        if not DEPTH_SPREAD < self.mean_shown <= self.pool_items // 2:
            raise ValueError(f"mean_shown must be above {DEPTH_SPREAD} and at most half of pool_items")
        if self.pool_items > MAX_POOL_ITEMS:
            raise ValueError(f"pool_items must be at most {MAX_POOL_ITEMS}: a department has not many more items")
        if self.user_requests_per_day == 0 or self.catalogue_items == 0 or self.distinct_queries == 0:
            raise ValueError("user_requests_per_day, catalogue_items and distinct_queries must be above 0")
        if self.duplicate_rate > 1 or self.malformed_rate + self.bot_rate > 1 / 2:
            raise ValueError("duplicate_rate must be at most 1, malformed_rate and bot_rate together at most 0.5")

    def without(self, *effects: str) -> "SimulateConfig":
        """The same world with effects taken away; everything else is drawn alike.

        ``history`` takes away all that only engagement reveals: the hidden affinity and the vocabulary gap.
        Raises UnknownNameError for a name that is not in EFFECTS.
        """
        zeros: dict[str, float] = {}
        for effect in effects:
            if effect not in EFFECTS:
                raise UnknownNameError("effect", effect, EFFECTS)
            zeros |= dict.fromkeys(EFFECTS[effect], 0.0)
        return dataclasses.replace(self, **zeros)  # type: ignore[arg-type]
