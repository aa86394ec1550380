"""Loading and training against peers, in one run on the same cores; ratios go to results/train_*.json.

    make bench-train                          320,000 training rows
    make bench-train REQUESTS=800             the short form

Spark takes part in bench_layout only. With a GPU, ``-k gpu`` measures steps of 8k and 64k rows against the ceilings
of the card.
"""

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from etl.contract.manifest import TRAIN
from models.config import BF16, FP32, TrainConfig
from models.contract import Batch
from models.dataset import Export
from models.distributed import Ranks
from models.features import FeatureSpec
from models.loader import FeatureTables, RequestLoader
from models.model_configs import InteractRankConfig
from models.objective import Objective
from models.optimizer import optimizer_of
from models.prefetch import Prefetch
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import train
from tests.benchmarks.bench_export import Size, write_flat, write_normalised
from tests.benchmarks.public_interactrank import PublicBatch, PublicInteractRank
from tests.benchmarks.stock_loader import FlatBatches, FlatRows

SIZE = Size(requests=int(os.environ.get("PRERANK_BENCH_REQUESTS") or 8_000))
# The short form is too short for the figures that are promised, and keeps none.
LONG = not os.environ.get("PRERANK_BENCH_REQUESTS")
RESULTS = Path(__file__).parent / "results"
# Towers of 512 and 256, vectors of 64 and 100 actions, as the public code has them.
CONFIG = TrainConfig(hidden=(512, 256), dim=64, history_length=100, batch_requests=50, workers=1, tensorboard=False)
# And its mask blocks, which are most of its work.
PUBLIC_MASKS = InteractRankConfig(blocks=4, block_width=2048)
ROWS_PER_BATCH = CONFIG.batch_requests * SIZE.shown
REPEATS = 7


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_normalised(tmp_path_factory.mktemp("bench") / "data", SIZE)


@pytest.fixture(scope="module")
def tables(data: Path) -> FeatureTables:
    export = Export(data)
    return FeatureTables(FeatureSpec.of(export.manifest, SIZE.dense, CONFIG), export)


def test_loader_against_a_stock_data_loader_over_the_flat_layout(data: Path, tables: FeatureTables) -> None:
    rows = tables.export.split(TRAIN)
    flat = write_flat(RequestLoader(tables, rows, 1_000), data.parent / "flat.parquet")
    loader = RequestLoader(tables, rows, CONFIG.batch_requests)

    def ours(threads: int) -> int:
        order = loader.order(1, 1)
        return sum(len(b.rows) for b in Prefetch(lambda step: loader.step(order, step), range(len(loader)), threads))

    stock = {
        "stock DataLoader, a row at a time": lambda: _drain(
            DataLoader(FlatRows(flat, ROWS_PER_BATCH), batch_size=ROWS_PER_BATCH, num_workers=2), limit=20
        ),
        "stock DataLoader, a record batch at a time, rows not shuffled": lambda: _drain(
            DataLoader(FlatBatches(flat, ROWS_PER_BATCH), batch_size=None, num_workers=2)
        ),
    }
    # Part of what a batch holds, for comparison: no text, no vectors, no categories of what was done.
    thin = [
        "query_history_item",
        "query_history_action",
        "query_history_age",
        "item_item_id",
        "cross",
        "labels",
        "weight",
    ]
    by_threads = {f"prerank, {threads} threads": _rate(lambda count=threads: ours(count)) for threads in (0, 2)}
    rate = {**by_threads, **{name: _rate(run) for name, run in stock.items()}}
    rate["prerank"] = max(by_threads.values())
    rate["stock DataLoader, a record batch at a time, sequences and cross features alone"] = _rate(
        lambda: _drain(DataLoader(FlatBatches(flat, ROWS_PER_BATCH, thin), batch_size=None, num_workers=2))
    )
    sizes = {
        "normalised": _bytes(data / "rows/00000.parquet") + sum(map(_bytes, data.glob("*.arrow"))),
        "normalised, rows alone": _bytes(data / "rows/00000.parquet"),
        "arrays of the rows, which the reader makes": sum(map(_bytes, (data / "arrays").rglob("*.npy"))),
        "flat": _bytes(flat),
    }
    ratios = {name: rate["prerank"] / value for name, value in rate.items()}
    report("loader", {"rows": len(rows), "rows_per_second": rate, "times_slower": ratios, "bytes": sizes})
    assert min(ratios[name] for name in stock) >= (10 if LONG else 1)


def test_step_against_the_public_model(tables: FeatureTables) -> None:
    loader = RequestLoader(tables, tables.export.split(TRAIN), CONFIG.batch_requests)
    order = loader.order(1, 1)
    batch = loader.step(order, 0)
    ours = replace(CONFIG, loss="focal", in_batch_weight=0.01)
    public = PublicInteractRank(SIZE.cross)
    shown = PublicBatch.random(len(batch.rows), SIZE.cross, SIZE.items)
    square = torch.rand(2048, 2048)
    runs = {
        "prerank": _step_of(_objective(tables, replace(ours, interactrank=PUBLIC_MASKS)), [batch]),
        "prerank, its default mask blocks": _step_of(_objective(tables, ours), [batch]),
        "public": _stepper(public, torch.optim.AdamW(public.parameters(), lr=6e-4, fused=True), lambda: public(shown)),
    }
    flops = {name: _flops(run) for name, run in runs.items()}
    best = _alternating(runs | {"peak": lambda: square @ square})
    peak = 2 * 2048**3 / best["peak"]
    result = {
        "rows": len(batch.rows),
        "requests": len(batch.queries),
        "distinct_items": len(batch.items),
        "step_seconds": {name: best[name] for name in runs},
        "rows_per_second": {name: len(batch.rows) / best[name] for name in runs},
        "times_faster_than_public": {name: best["public"] / best[name] for name in runs},
        "gflop_per_step": {name: value / 1e9 for name, value in flops.items()},
        "share_of_matmul_peak": {name: flops[name] / best[name] / peak for name in runs},
        "peak_gflop_per_second": peak / 1e9,
        "compiled": _compiled(tables, [loader.step(order, step) for step in range(4)]),
    }
    report("step", result)
    assert best["prerank"] < best["public"]


def test_share_of_time_that_steps_wait_for_data(data: Path) -> None:
    shares, rates = {}, {}
    for workers in (0, 1, 2):
        result = train(replace(CONFIG, epochs=1, workers=workers, hidden=(256,)), Export(data), "interactrank")
        shares[f"{workers} threads"], rates[f"{workers} threads"] = result.wait_share, result.rows_per_second
    report("waiting", {"share_of_time_waiting": shares, "rows_per_second": rates})
    # The loader of the defaults, which makes batches ahead in one thread.
    assert shares["1 threads"] < (0.05 if LONG else 0.5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_step_against_the_ceilings_of_the_card(tables: FeatureTables) -> None:
    device = torch.device("cuda")
    flop_ceiling, byte_ceiling = _ceilings(device)
    found = {}
    for rows in (8_000, 64_000):
        for precision in (FP32, BF16):
            config = replace(CONFIG, precision=precision, in_batch_weight=0.01)
            objective = _objective(tables, config, device="cuda")
            loader = RequestLoader(tables, tables.export.split(TRAIN), rows // SIZE.shown)
            batch = loader.step(loader.order(1, 1), 0).to(device)
            step = _step_of(objective, [batch])
            flops = _flops(step)
            seconds = median(_seconds(step) for _ in range(20))
            # Every parameter, its gradient and two moments are read and written.
            touched = 7 * sum(p.numel() * 4 for p in objective.parameters())
            found[f"{rows} rows {precision}"] = {
                "step_seconds": seconds,
                "rows_per_second": len(batch.rows) / seconds,
                "share_of_flop_ceiling": flops / seconds / flop_ceiling,
                "share_of_byte_ceiling": touched / seconds / byte_ceiling,
            }
    card = torch.cuda.get_device_name()
    ceilings = {"bf16_flop_per_second": flop_ceiling, "bytes_per_second": byte_ceiling}
    report(f"gpu_{card.replace(' ', '_')}", {"card": card, "ceilings": ceilings, "steps": found})
    assert found


def _drain(batches: DataLoader[Any], limit: int | None = None) -> int:
    rows = 0
    for number, batch in enumerate(batches):
        rows += len(batch["weight"])
        if number == limit:
            break
    return rows


def _objective(
    tables: FeatureTables, config: TrainConfig, name: str = "interactrank", device: str = "cpu"
) -> Objective:
    torch.manual_seed(1)
    scaling = CrossScaling.fit(tables.export.split(TRAIN).cross[:10_000], tables.spec.cross)
    numerics = NumericStatistics.fit(tables.items.numerics)
    model = get_model(name)(tables.spec, config, scaling, numerics).to(device)
    return Objective(model, config, Ranks(device=torch.device(device))).to(device)


def _compiled(tables: FeatureTables, batches: list[Batch]) -> dict[str, dict[str, float]]:
    """By model: rows/s of a step as it is and compiled, and how long the first compiled steps took."""
    found = {}
    rows = sum(len(batch.rows) for batch in batches) / len(batches)
    for name in ("interactrank", "two_tower"):
        plain = _objective(tables, CONFIG, name)
        compiled = _objective(tables, CONFIG, name)
        forward = torch.compile(compiled, dynamic=True)
        runs = {"eager": _step_of(plain, batches), "compiled": _step_of(compiled, batches, forward)}
        first = _seconds(lambda: [runs["compiled"]() for _ in batches])  # noqa: B023
        best = _alternating(runs)
        found[name] = {
            "eager_rows_per_second": rows / best["eager"],
            "compiled_rows_per_second": rows / best["compiled"],
            "times_faster": best["eager"] / best["compiled"],
            "first_steps_seconds": first,
        }
    return found


def _step_of(objective: Objective, batches: list[Batch], forward: Callable[[Batch], torch.Tensor] | None = None) -> Any:
    """A step on each of the batches in turn."""
    turn, run = cycle(batches), objective if forward is None else forward
    optimizer = optimizer_of(objective, objective.config)
    return _stepper(objective, optimizer, lambda: run(next(turn)) @ objective.weights)


def _alternating(runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each, taken in turns: whatever else the machine does hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, run in runs.items():
            seconds[name].append(_seconds(run))
    return {name: median(values) for name, values in seconds.items()}


def _stepper(module: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]) -> Any:
    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        optimizer.step()

    module.train()
    return step


def _flops(step: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def _ceilings(device: torch.device) -> tuple[float, float]:
    """Measured on the card: bf16 matrix product in FLOP/s, a copy in bytes/s."""
    a = torch.rand(8192, 8192, device=device, dtype=torch.bfloat16)
    big = torch.rand(1 << 28, device=device)
    product = median(_seconds(lambda: a @ a) for _ in range(10))
    copy = median(_seconds(big.clone) for _ in range(10))
    return 2 * 8192**3 / product, 2 * 4 * (1 << 28) / copy


def _seconds(run: Callable[[], Any]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _rate(run: Callable[[], int]) -> float:
    """Rows a second, the median of three rounds."""
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        rows = run()
        rates.append(rows / (time.perf_counter() - start))
    return median(rates)


def _bytes(path: Path) -> int:
    return path.stat().st_size


def report(part: str, result: dict[str, Any]) -> None:
    """Print a part of the results, and keep it unless this is the short form."""
    machine = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    text = json.dumps({"part": part, **result, "on": machine}, indent=2)
    print(f"\n{text}")
    if LONG:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"train_{part}.json").write_text(text + "\n")
