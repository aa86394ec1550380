from dataclasses import replace

import numpy as np
import pytest

from etl.contract.manifest import TRAIN
from models.config import TrainConfig
from models.cross_view import CrossChoice, CrossView
from models.dataset import Export
from models.features import FeatureSpec
from models.scorers import SharedTables
from tests.models.export_fixture import CROSS

SHARE, RATE, DECAY, HISTORY = range(len(CROSS))


@pytest.mark.parametrize(
    ("pattern", "columns"),
    [(".*", [0, 1, 2, 3]), ("", []), ("all__.*_share_7d", [SHARE]), ("country__.*", [DECAY]), ("share", [])],
)
def test_a_pattern_matches_whole_names(pattern: str, columns: list[int]):
    assert CrossChoice(pattern).columns(CROSS) == columns


def test_a_view_holds_the_chosen_columns_of_any_rows_and_leaves_the_export_as_it_was(export: Export):
    view = CrossView(export, CrossChoice("all__click.*"))
    whole, seen = export.split(TRAIN), view.split(TRAIN)
    assert view.manifest.cross == (CROSS[SHARE], CROSS[RATE])
    assert export.manifest.cross == CROSS
    assert np.array_equal(seen.cross[np.array([5, 3])], whole.cross[[5, 3]][:, [SHARE, RATE]])
    assert np.array_equal(seen.cross[2:4], whole.cross[2:4][:, [SHARE, RATE]])
    assert len(seen.cross) == len(whole)
    assert seen.labels is whole.labels


def test_without_back_off_rates_of_pairs_without_a_row_are_zero_and_nothing_else_changes(export: Export):
    rows = export.split(TRAIN)
    cross = np.array([[0.1, 0.2, 3.0, 1.0], [0.0, 0.05, 0.0, 0.0]], dtype=np.float32)
    changed = Export(export.directory)
    changed._splits[TRAIN] = replace(rows, cross=cross)
    seen = CrossView(changed, CrossChoice(backoff=False)).split(TRAIN).cross[:]
    assert seen.tolist() == [cross[0].tolist(), [0.0, 0.0, 0.0, 0.0]]
    assert cross[1, RATE] == np.float32(0.05)
    assert CrossView(changed, CrossChoice()).split(TRAIN).cross[:].tolist() == cross.tolist()


def test_models_that_differ_in_cross_features_share_what_is_hashed(export: Export, config: TrainConfig):
    view, shared = CrossView(export, CrossChoice("all__.*")), SharedTables()
    whole = shared.of(FeatureSpec.of(export.manifest, 3, config), export)
    seen = shared.of(FeatureSpec.of(view.manifest, 3, config), view)
    assert seen.items is whole.items
    assert seen.query_text is whole.query_text
    assert seen.spec.cross == view.manifest.cross
    assert seen.export is view
    assert whole.export is export
    wider = shared.of(FeatureSpec.of(view.manifest, 3, replace(config, text_buckets=4096)), view)
    assert wider.items is not whole.items
