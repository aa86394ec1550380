"""What the arrays of an export, and those given to a model, must hold.

Each failure names the column, what was expected and what was found.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import ExportError, FeatureContractError


def check_width(where: str, name: str, values: int, rows: int, width: int) -> None:
    if values != rows * width:
        raise ExportError(
            f"{where}: column '{name}' holds {values} values, expected {rows} rows x {width}. Export again."
        )


def check_range(where: str, name: str, values: npt.NDArray[Any], limit: int) -> None:
    if len(values) and (values.min() < 0 or values.max() >= limit):
        raise ExportError(
            f"{where}: column '{name}' spans {values.min()} to {values.max()}, expected 0 to {limit - 1}. Export again."
        )


def check_finite(where: str, cross: npt.NDArray[np.float32], names: tuple[str, ...]) -> None:
    """``cross`` is (n, C)."""
    bad = np.count_nonzero(~np.isfinite(cross), axis=0)
    if bad.any():
        worst = int(bad.argmax())
        raise ExportError(
            f"{where}: cross feature '{names[worst]}' is NaN or infinite in {bad[worst]} rows. Export again."
        )


def check_shape(column: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """FeatureContractError if an array that a model is given is not of the shape that it was trained with."""
    if tuple(found) != expected:
        raise FeatureContractError(column, f"shape {expected}", f"shape {tuple(found)}")


def check_known(column: str, indices: npt.NDArray[Any], names: Sequence[str]) -> None:
    """FeatureContractError if an index is none of the names'."""
    unknown = indices[(indices < 0) | (indices >= len(names))]
    if len(unknown):
        raise FeatureContractError(column, f"0 to {len(names) - 1} ({', '.join(names)})", int(unknown[0]))
