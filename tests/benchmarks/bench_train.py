"""Loading and training against peers, in one run on the same cores; ratios go to results/train.json.

    make bench-train                          320,000 training rows
    make bench-train REQUESTS=800             the short form

Spark takes part in bench_layout only. With a GPU, ``-k gpu`` measures steps of 8k and 64k rows against the ceilings
of the card.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.flop_counter import FlopCounterMode

from etl.contract.manifest import TRAIN
from models.config import BF16, FP32, TrainConfig
from models.dataset import Export
from models.distributed import Ranks
from models.features import FeatureSpec
from models.loader import FeatureTables, RequestLoader
from models.objective import Objective
from models.optimizer import optimizer_of
from models.prefetch import Prefetch
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import train
from tests.benchmarks.bench_export import Size, write_flat, write_normalised
from tests.benchmarks.public_interactrank import PublicBatch, PublicInteractRank

SIZE = Size(requests=int(os.environ.get("PRERANK_BENCH_REQUESTS") or 8_000))
RESULTS = Path(__file__).parent / "results"
# The widths of the public code: towers of 512 and 256, vectors of 64, 100 actions.
CONFIG = TrainConfig(hidden=(512, 256), dim=64, history_length=100, batch_requests=50, workers=1, tensorboard=False)
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
    flat = write_flat(data, data.parent / "flat.parquet", SIZE)
    rows = tables.export.split(TRAIN)
    loader = RequestLoader(tables, rows, CONFIG.batch_requests)

    def ours() -> int:
        order = loader.order(1, 1)
        return sum(len(b.rows) for b in Prefetch(lambda step: loader.step(order, step), range(len(loader)), 2))

    stock = {
        "stock DataLoader, a row at a time": lambda: _drain(
            DataLoader(_FlatRows(flat), batch_size=ROWS_PER_BATCH, num_workers=2), limit=20
        ),
        "stock DataLoader, a record batch at a time, rows not shuffled": lambda: _drain(
            DataLoader(_FlatBatches(flat), batch_size=None, num_workers=2), limit=40
        ),
    }
    rate = {"prerank": _rate(ours), **{name: _rate(run) for name, run in stock.items()}}
    sizes = {
        "normalised": _bytes(data / "rows/00000.parquet") + sum(map(_bytes, data.glob("*.arrow"))),
        "normalised, rows alone": _bytes(data / "rows/00000.parquet"),
        "arrays of the rows, which the reader makes": sum(map(_bytes, (data / "arrays").rglob("*.npy"))),
        "flat": _bytes(flat),
    }
    ratios = {name: rate["prerank"] / value for name, value in rate.items()}
    report("loader", {"rows": len(rows), "rows_per_second": rate, "times_slower": ratios, "bytes": sizes})
    assert all(ratios.values())


def test_step_against_the_public_model(tables: FeatureTables) -> None:
    rows = tables.export.split(TRAIN)
    loader = RequestLoader(tables, rows, CONFIG.batch_requests)
    batch = loader.step(loader.order(1, 1), 0)
    config = replace(CONFIG, loss="focal", in_batch_weight=0.01)
    objective = _objective(tables, config, torch.device("cpu"))
    public = PublicInteractRank(SIZE.cross)
    shown = PublicBatch.random(len(batch.rows), SIZE.cross, SIZE.items)
    mine = _stepper(objective, optimizer_of(objective, config), lambda: objective(batch) @ objective.weights)
    theirs = _stepper(public, torch.optim.AdamW(public.parameters(), lr=6e-4, fused=True), lambda: public(shown))
    flops = {"prerank": _flops(mine), "public": _flops(theirs)}
    seconds: dict[str, list[float]] = {"prerank": [], "public": [], "peak": []}
    square = torch.rand(2048, 2048)
    for _ in range(REPEATS):
        for name, run in (("prerank", mine), ("public", theirs), ("peak", lambda: square @ square)):
            seconds[name].append(_seconds(run))
    best = {name: median(values) for name, values in seconds.items()}
    peak = 2 * 2048**3 / best["peak"]
    result = {
        "rows": len(batch.rows),
        "requests": len(batch.queries),
        "distinct_items": len(batch.items),
        "step_seconds": {name: best[name] for name in flops},
        "rows_per_second": {name: len(batch.rows) / best[name] for name in flops},
        "times_faster_than_public": best["public"] / best["prerank"],
        "gflop_per_step": {name: value / 1e9 for name, value in flops.items()},
        "share_of_matmul_peak": {name: flops[name] / best[name] / peak for name in flops},
        "peak_gflop_per_second": peak / 1e9,
    }
    report("step", result)
    assert best["prerank"] > 0


def test_share_of_time_that_steps_wait_for_data(data: Path) -> None:
    shares, rates = {}, {}
    for workers in (0, 1, 2):
        result = train(replace(CONFIG, epochs=1, workers=workers, hidden=(256,)), Export(data), "interactrank")
        shares[f"{workers} threads"], rates[f"{workers} threads"] = result.wait_share, result.rows_per_second
    report("waiting", {"share_of_time_waiting": shares, "rows_per_second": rates})
    assert all(0 <= share < 1 for share in shares.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_step_against_the_ceilings_of_the_card(tables: FeatureTables) -> None:
    device = torch.device("cuda")
    flop_ceiling, byte_ceiling = _ceilings(device)
    found = {}
    for rows in (8_000, 64_000):
        for precision in (FP32, BF16):
            config = replace(CONFIG, precision=precision, in_batch_weight=0.01)
            objective = _objective(tables, config, device)
            loader = RequestLoader(tables, tables.export.split(TRAIN), rows // SIZE.shown)
            batch = loader.step(loader.order(1, 1), 0).to(device)
            step = _stepper(objective, optimizer_of(objective, config), lambda: objective(batch) @ objective.weights)  # noqa: B023
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


class _FlatRows(IterableDataset[dict[str, Any]]):
    """One sample a row, as most readers of Parquet feed the stock collate function."""

    def __init__(self, path: Path):
        self.path = path

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for columns in _record_batches(self.path):
            for row in range(len(columns["weight"])):
                yield {name: values[row] for name, values in columns.items()}


class _FlatBatches(IterableDataset[dict[str, Any]]):
    """One sample a record batch: the best that a stock loader can do, without a shuffle."""

    def __init__(self, path: Path):
        self.path = path

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for columns in _record_batches(self.path):
            yield {name: torch.from_numpy(values) for name, values in columns.items() if name not in ("query", "text")}


def _record_batches(path: Path) -> Iterator[dict[str, Any]]:
    file, info = pq.ParquetFile(path), torch.utils.data.get_worker_info()
    groups = range(file.num_row_groups) if info is None else range(info.id, file.num_row_groups, info.num_workers)
    for batch in file.iter_batches(ROWS_PER_BATCH, row_groups=list(groups)):
        columns = {}
        for name in batch.schema.names:
            column = batch.column(name)
            if hasattr(column, "flatten"):
                columns[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1).copy()
            else:
                columns[name] = column.to_numpy(zero_copy_only=False).copy()
        yield columns


def _drain(batches: DataLoader[Any], limit: int) -> int:
    rows = 0
    for number, batch in enumerate(batches):
        rows += len(batch["weight"])
        if number == limit:
            break
    return rows


def _objective(tables: FeatureTables, config: TrainConfig, device: torch.device) -> Objective:
    torch.manual_seed(1)
    scaling = CrossScaling.fit(tables.export.split(TRAIN).cross[:10_000], tables.spec.cross)
    numerics = NumericStatistics.fit(tables.items.numerics)
    model = get_model("interactrank")(tables.spec, config, scaling, numerics).to(device)
    return Objective(model, config, Ranks(device=device)).to(device)


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
    if not os.environ.get("PRERANK_BENCH_REQUESTS"):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"train_{part}.json").write_text(text + "\n")
