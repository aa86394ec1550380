"""Exports with sampled impressions and drawn negatives, whole, against the reference; the gate counts them too."""

import dataclasses

import pytest

from etl.config import CANDIDATES, CATALOGUE, HeadConfig
from etl.contract import manifest as m
from etl.contract.dates import DateRange
from etl.cross import cross_names
from etl.errors import MissingDataError
from etl.export import export_training_data, split_days
from etl.negatives import require_catalogue
from etl.sources.errors import InputError
from tests.etl import draws, reference, reference_rows
from tests.etl.exports import opened
from tests.etl.logs import EXPORT_DAYS, SNAPSHOTS, sample_items
from tests.etl.test_export import request_hashes

pytestmark = pytest.mark.spark

HEADS = (
    HeadConfig("engagement", ("click", "purchase"), 20.0),
    HeadConfig("browsed", ("click",), veto=("purchase",)),
)
#: Labels of the last day but one are mature. The day before it is empty: validation takes two.
DAYS = DateRange(EXPORT_DAYS.start, "2024-03-02")


def exported(built, out, kind, **export):
    """The export's rows and the reference's, by (request hash, item_id)."""
    settings = dataclasses.replace(
        built.config.export, negatives=kind, row_weights={"purchase": 20.0, "click": 1.5, "impression": 5.0},
        label_window_days=1, impression_sampling_rate=0.5, validation_days=2, **export,
    )  # fmt: skip
    config = dataclasses.replace(built.config, heads=HEADS, export=settings)
    export_training_data(built.lake(), config, DAYS, out)
    train = [ds for ds, split in split_days(DAYS, config).items() if split == m.TRAIN]
    rows = draws.sampled(reference_rows.training_rows(built.events, DAYS, config), train, config)
    if kind == CANDIDATES:
        negatives = draws.candidates(built.events, DAYS, config)
    else:
        catalogue = {ds: [item["item_id"] for item in sample_items(ds)] for ds in SNAPSHOTS}
        negatives = draws.catalogue(built.events, DAYS, config, catalogue)
    hashes = request_hashes(built.spark, reference_rows.begun(built.events, DAYS))
    observed = {(hashes[request], item): row for (request, item), row in rows.items()}
    return opened(out), observed, {(hashes[request], item) for request, item in negatives}, config


@pytest.mark.parametrize(
    ("kind", "export"),
    [
        (CANDIDATES, {"negatives_per_request": 1, "sampling_seed": 3}),
        (CATALOGUE, {"negatives_per_request": 2, "negative_weight": 0.5}),
    ],
)
def test_rows_are_those_of_the_reference_with_features_point_in_time(built, tmp_path, kind, export):
    found, observed, negatives, config = exported(built, tmp_path / "out", kind, **export)
    assert found.keys() == observed.keys() | negatives
    assert not observed.keys() & negatives
    assert len(negatives) > 20
    for key, row in observed.items():
        assert (found[key]["labels"], found[key]["weight"]) == (row["labels"], row["weight"]), key
    assert {row["weight"] for row in found.values()} >= {20.0, 1.5, 5.0, 10.0}
    seen = {ds: reference.interactions(built.events, reference_rows.as_of(ds, 0), config) for ds in DAYS}
    for key in negatives:
        row = found[key]
        assert (row["labels"], row["position"], row["weight"]) == ([0, 0], -1, config.export.negative_weight)
        item, ds = row["item"]["item_id"], row["ds"]
        start = {"query_key": row["query_key"], "segments": row["segments"]}
        wanted = reference_rows.cross(seen[ds], start, item, config, built.events, reference_rows.as_of(ds, 0))
        assert row["cross"] == pytest.approx({n: wanted.get(n, 0.0) for n in cross_names(config)}, rel=1e-6)
        if item == "i0":
            assert row["item"]["text"] == f"i0 of {max(day for day in SNAPSHOTS if day < ds)} acme"
    assert {found[key]["split"] for key in negatives} == set(m.SPLITS)
    manifest = m.read_manifest(tmp_path / "out")
    assert manifest.heads[1].veto == ("purchase",)
    assert manifest.label_definition == m.LabelDefinition(
        label_window_days=1, row_weights=(("purchase", 20.0), ("click", 1.5), ("impression", 5.0)),
        impression_sampling_rate=0.5, negatives=kind, **export,
    )  # fmt: skip


def test_negatives_from_a_catalogue_that_some_days_do_not_see_are_refused(built, copied):
    settings = dataclasses.replace(built.config.export, negatives=CATALOGUE, negatives_per_request=1)
    config = dataclasses.replace(built.config, export=settings)
    require_catalogue(built.lake(), config, DAYS)
    with pytest.raises(InputError, match=r"rows of 2024-02-26 see none.*export from 2024-02-27 on"):
        require_catalogue(built.lake(), config, DAYS.widen(before=1))
    lake, _ = copied("events")
    with pytest.raises(MissingDataError, match="items"):
        require_catalogue(lake, config, DAYS)
    require_catalogue(lake, built.config, DAYS)
