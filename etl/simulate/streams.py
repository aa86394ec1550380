"""Random streams by purpose and block: a block draws the same numbers wherever and whenever it runs."""

from enum import IntEnum

import numpy as np

from etl.contract.errors import UsageError


class Stream(IntEnum):
    """What the numbers are for. Separate streams keep one part's draws unchanged when another part changes."""

    WORLD = 0
    PILOT = 1
    REQUESTS = 2
    NOISE = 3
    BOTS = 4
    CANDIDATES = 5


def generator(seed: int, stream: Stream, block: int = 0) -> np.random.Generator:
    """Counter-based (Philox), keyed by seed, stream and block (below 2^56)."""
    if not 0 <= seed < 1 << 64:
        raise UsageError(f"--seed {seed}: expected a whole number from 0 to 2^64 - 1")
    key = np.array([seed, (int(stream) << 56) | block], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
