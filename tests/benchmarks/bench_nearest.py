"""Exact nearest items against a plain matrix product of the same size, on the same threads or card, in one run.

    make bench-score ARGS="-k nearest"

The ceiling is ``torch.matmul`` alone, into memory that is there already: no top-k, and all products in memory at once.
``tiles`` is the same product tile by tile, into memory that stays in the cache: what the search is made of. Times are
the best of several rounds in turn. Goes to results/score_nearest.json; with a GPU, to one file per card and size.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scoring.candidates.nearest import CPU_TILE, nearest

RESULTS = Path(__file__).parent / "results"
QUERIES, ITEMS, DIM, TOP = 2000, 100_000, 64, 200
ROUNDS = 7
FLOPS = 2 * QUERIES * ITEMS * DIM


def test_nearest_on_the_cpu_against_matmul() -> None:
    queries, items = _vectors(torch.device("cpu"))
    products = torch.empty(QUERIES, ITEMS)
    seconds = _rounds(
        {
            "nearest": lambda: nearest(queries, [items], TOP),
            "matmul": lambda: torch.mm(queries, items.T, out=products),
            "tiles": lambda: _tiles(queries, items),
            "matmul_topk": lambda: torch.topk(torch.mm(queries, items.T, out=products), TOP, dim=1),
        }
    )
    _require_exact(queries, items)
    _report("score_nearest", {"threads": torch.get_num_threads(), "fp32": _shares(seconds)})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("queries", [QUERIES, 10 * QUERIES])
def test_nearest_on_a_gpu_against_matmul(queries: int) -> None:
    asked, items = _vectors(torch.device("cuda"), queries)
    found: dict[str, Any] = {}
    for name, precision in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = asked.to(precision), items.to(precision).T
        products = torch.empty(queries, ITEMS, dtype=precision, device="cuda")
        runs: dict[str, Callable[[], object]] = {
            "nearest": lambda precision=precision: nearest(asked, [items], TOP, precision),
            "matmul": lambda left=left, right=right, products=products: torch.mm(left, right, out=products),
        }
        found[name] = _shares(_rounds(runs), queries)
    _require_exact(asked, items)
    card = torch.cuda.get_device_name().replace(" ", "_")
    _report(f"score_nearest_{card}_{queries}", {"card": card, "queries": queries, **found})


def _vectors(device: torch.device, queries: int = QUERIES) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors of queries and items, as a tower returns them."""
    drawn = torch.randn(queries + ITEMS, DIM, generator=torch.Generator().manual_seed(3))
    unit = torch.nn.functional.normalize(drawn, dim=1).to(device)
    return unit[:queries].contiguous(), unit[queries:].contiguous()


def _tiles(queries: torch.Tensor, items: torch.Tensor) -> None:
    tile = torch.empty(CPU_TILE.queries, CPU_TILE.items)
    for some in items.split(CPU_TILE.items):
        for asked in queries.split(CPU_TILE.queries):
            torch.mm(asked, some.T, out=tile[: len(asked), : len(some)])


def _rounds(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The best seconds of each, all of them once per round."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            _wait()
            begun = time.perf_counter()
            run()
            _wait()
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _shares(seconds: dict[str, float], queries: int = QUERIES) -> dict[str, float]:
    flops = FLOPS * queries // QUERIES
    return {
        **{f"{name}_seconds": round(value, 5) for name, value in seconds.items()},
        **{f"{name}_gflops": round(flops / value / 1e9, 1) for name, value in seconds.items()},
        "share_of_matmul": round(seconds["matmul"] / seconds["nearest"], 3),
    }


def _require_exact(queries: torch.Tensor, items: torch.Tensor) -> None:
    """A speed of wrong answers would be none."""
    some = queries[:20]
    truth = torch.topk(some.double() @ items.double().T, TOP, dim=1).values.cpu().numpy()
    np.testing.assert_allclose(nearest(some, [items], TOP).scores, truth, atol=1e-6)


def _report(name: str, result: dict[str, Any]) -> None:
    size = {"queries": QUERIES, "items": ITEMS, "dim": DIM, "top": TOP}
    text = json.dumps({"part": "nearest", **size, **result, "torch": torch.__version__}, indent=2)
    print("\n" + text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")
