"""What an export of MovieLens is asked for. The protocols themselves: etl.movielens.protocol."""

from dataclasses import dataclass

from etl.contract.errors import UsageError

CLEAN, PUBLISHED_WITH_LEAK = "clean", "published_with_leak"
PROTOCOLS = (CLEAN, PUBLISHED_WITH_LEAK)
RANDOM, TIME = "random", "time"
SPLIT_KINDS = (RANDOM, TIME)


@dataclass(frozen=True)
class MovieLensConfig:
    """Equal settings make equal exports of the same files."""

    protocol: str = CLEAN
    split: str = RANDOM
    seed: int = 17
    """Of a random split."""
    means: bool = False
    """Add the means of earlier labels of user and movie as cross features; clean only."""
    titles: bool = False
    """Give titles as text: the models in the papers know ids and genres only."""

    def __post_init__(self) -> None:
        if self.protocol == PUBLISHED_WITH_LEAK and self.split != RANDOM:
            raise UsageError(f"{self.protocol} splits at random, as the scripts do: leave --split {self.split} out")
        if self.protocol == PUBLISHED_WITH_LEAK and self.means:
            raise UsageError(f"{self.protocol} always has its means: leave --means out")
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: expected 0 or more")
