"""What the arrays of an export must hold; each failure names the file, the column, and what was expected."""

from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import ExportError


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
