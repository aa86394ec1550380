"""Towers and scorer as torch.export programs: plain tensors in and out, their first dimension free.

A program counts only if, read back from its file, it says what the model says.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from models.contract import FeatureTable, ItemFeatures, QueryFeatures, Ranker
from models.features import FeatureSpec
from models.fusion import LinearFusionRanker
from scoring.errors import ScoringError
from scoring.serving.drawn import drawn_cross, drawn_items, drawn_queries
from scoring.serving.program_files import load_program

QUERY_TOWER, ITEM_TOWER, SCORER = "query_tower.pt2", "item_tower.pt2", "scorer.pt2"
#: A program is traced at the last size and compared with the model at all of them.
BATCH_SIZES = (1, 2, 7)

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Port:
    """An input or output of a program; the first entry of the shape is the name of the free dimension."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a program, each in its order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


class QueryProgram(nn.Module):
    """``q`` (R, X), and where the fusion is linear ``blended`` (R, D), of the fields of ``QueryFeatures``."""

    def __init__(self, model: Ranker):
        super().__init__()
        self.model = model

    def forward(
        self, text: Tensor, query_id: Tensor, segments: Tensor, history_item: Tensor, history_categories: Tensor,
        history_action: Tensor, history_age: Tensor, top_item: Tensor, top_categories: Tensor,
    ) -> Tensors:  # fmt: skip
        history = (history_item, history_categories, history_action, history_age)
        q = self.model.encode_query(QueryFeatures(text, query_id, segments, *history, top_item, top_categories))
        return (q, self.model.blend(q)) if isinstance(self.model, LinearFusionRanker) else (q,)


class ItemProgram(nn.Module):
    """``v`` (N, Y) of the fields of ``ItemFeatures``."""

    def __init__(self, model: Ranker):
        super().__init__()
        self.model = model

    def forward(self, text: Tensor, item_id: Tensor, categories: Tensor, numerics: Tensor, dense: Tensor) -> Tensors:
        return (self.model.encode_item(ItemFeatures(text, item_id, categories, numerics, dense)),)


class ScorerProgram(nn.Module):
    """Logits (P, H) and the ranking score (P,) of q (P, X), v (P, Y) and those cross features that the model reads."""

    places: Tensor

    def __init__(self, model: Ranker, spec: FeatureSpec):
        super().__init__()
        self.model, self.width = model, len(spec.cross)
        places = [spec.cross.index(name) for name in model.cross_read()]
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64), persistent=False)

    def forward(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensors:
        whole = cross.new_zeros(cross.shape[0], self.width).index_copy(1, self.places, cross)  # (P, C)
        logits = self.model.score(q, v, whole)
        return logits, self.model.ranking_score(logits)


def write_programs(model: Ranker, spec: FeatureSpec, folder: Path) -> dict[str, Signature]:
    """Write the programs of a model in eval mode into ``folder``; returns their signatures by file name.

    A linear fusion needs no scorer. Raises ScoringError for a program that does not say what the model says.
    """

    def queries(rows: int) -> Tensors:
        return _fields(drawn_queries(spec, rows))

    def items(rows: int) -> Tensors:
        return _fields(drawn_items(spec, rows))

    def pairs(rows: int) -> Tensors:
        sides = model.encode_query(drawn_queries(spec, rows)), model.encode_item(drawn_items(spec, rows))
        return *sides, drawn_cross(len(model.cross_read()), rows)

    names = [field.name for field in fields(QueryFeatures)], [field.name for field in fields(ItemFeatures)]
    linear = isinstance(model, LinearFusionRanker)
    towers = ("q", "blended") if linear else ("q",)
    written = {
        QUERY_TOWER: _write(folder / QUERY_TOWER, QueryProgram(model), queries, "requests", names[0], towers),
        ITEM_TOWER: _write(folder / ITEM_TOWER, ItemProgram(model), items, "items", names[1], ("v",)),
    }
    if not linear:
        sides, scores = ("q", "v", "cross"), ("logits", "score")
        written[SCORER] = _write(folder / SCORER, ScorerProgram(model, spec), pairs, "pairs", sides, scores)
    return written


@torch.no_grad()
def _write(
    path: Path, module: nn.Module, inputs_of: Callable[[int], Tensors], dimension: str,
    inputs: tuple[str, ...] | list[str], outputs: tuple[str, ...],
) -> Signature:  # fmt: skip
    example = inputs_of(BATCH_SIZES[-1])
    free = tuple({0: Dim(dimension)} for _ in example)
    whole = torch.export.export(module.eval(), example, dynamic_shapes=free)
    part = torch.export.export(_without_unread(module, whole), example, dynamic_shapes=free)
    torch.export.save(part, path)
    require_equal(path, module, inputs_of)
    return Signature(_ports(inputs, example, dimension), _ports(outputs, module(*example), dimension))


def _without_unread(module: nn.Module, program: ExportedProgram) -> nn.Module:
    """A copy without the tensors that the program never reads: an item tower's file needs no query tower's weights."""
    names = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    part = copy.deepcopy(module)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names and not node.users:
            owner, _, name = names[node.name].rpartition(".")
            setattr(part.get_submodule(owner), name, None)
    return part


@torch.no_grad()
def require_equal(path: Path, module: nn.Module, inputs_of: Callable[[int], Tensors]) -> None:
    """The program of a file and the module it came from give equal outputs, or ScoringError says where they differ."""
    program = load_program(path)
    for rows in BATCH_SIZES:
        inputs = inputs_of(rows)
        for place, (said, meant) in enumerate(zip(program(*inputs), module(*inputs), strict=True)):
            if said.shape != meant.shape or not torch.allclose(said, meant, rtol=1e-5, atol=1e-6, equal_nan=True):
                raise ScoringError(
                    f"{path.name}: output {place} of the exported program is not the model's at a batch of {rows} "
                    f"(torch {torch.__version__}). Nothing was published; serve the model directory itself, or export "
                    "with another version of torch."
                )


def _fields(table: FeatureTable) -> Tensors:
    return tuple(getattr(table, field.name) for field in fields(table))


def _ports(names: tuple[str, ...] | list[str], tensors: Tensors, dimension: str) -> tuple[Port, ...]:
    return tuple(
        Port(name, str(tensor.dtype).removeprefix("torch."), (dimension, *tensor.shape[1:]))
        for name, tensor in zip(names, tensors, strict=True)
    )
