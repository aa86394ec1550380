import dataclasses

import numpy as np
import pytest
import torch

from etl.contract.manifest import TRAIN
from models.config import TrainConfig
from models.contract import Batch
from models.dataset import Export
from models.features import FeatureSpec
from models.hashing import age_buckets, bucket
from models.histories import Histories
from models.loader import FeatureTables, RequestLoader
from models.prefetch import Prefetch


@pytest.fixture(scope="module")
def loader(export: Export, config: TrainConfig) -> RequestLoader:
    return RequestLoader(FeatureTables(FeatureSpec.of(export.manifest, 3, config), export), export.split(TRAIN), 33)


def shuffled(loader: RequestLoader, seed: int, epoch: int) -> list[Batch]:
    order = loader.order(seed, epoch)
    return [loader.step(order, step) for step in range(len(loader))]


def _rows(batches: list[Batch]) -> list[int]:
    return torch.cat([batch.rows for batch in batches]).tolist()


def test_an_epoch_yields_each_row_once(loader: RequestLoader):
    batches = shuffled(loader, seed=1, epoch=1)
    assert len(batches) == len(loader)
    assert sorted(_rows(batches)) == list(range(len(loader.rows)))


def test_order_depends_on_seed_and_epoch_only(loader: RequestLoader):
    first = _rows(shuffled(loader, 1, 1))
    assert first == _rows(shuffled(loader, 1, 1))
    assert first != _rows(shuffled(loader, 1, 2))
    assert first != _rows(shuffled(loader, 2, 1))


@pytest.mark.parametrize("ranks", [2, 3, 50])
def test_ranks_share_each_step_in_order(loader: RequestLoader, ranks: int):
    order, step = loader.order(1, 1), len(loader) - 1
    whole = loader.step(order, step)
    parts = [
        RequestLoader(loader.tables, loader.rows, loader.batch_requests, rank, ranks).step(order, step)
        for rank in range(ranks)
    ]
    assert _rows(parts) == whole.rows.tolist()
    for part in parts:
        assert part.total_weight == whole.total_weight == whole.weight.sum()
        assert part.total_positives == whole.total_positives == whole.labels.sum()


def test_a_run_that_goes_on_at_any_step_sees_every_row_once(loader: RequestLoader):
    order = loader.order(3, 2)
    for stop in range(len(loader) + 1):
        before = Prefetch(lambda step: loader.step(order, step), range(stop), workers=2)
        after = Prefetch(lambda step: loader.step(order, step), range(stop, len(loader)), workers=0)
        assert _rows([*before, *after]) == _rows(shuffled(loader, 3, 2))


def test_versions_of_an_item_share_a_number(loader: RequestLoader, export: Export):
    ids, numbers = export.items.item_id, loader.tables.item_number
    assert len(set(zip(ids, numbers.tolist(), strict=True))) == len(set(ids)) == len(set(numbers.tolist()))


def test_requests_stay_whole(loader: RequestLoader):
    request = loader.rows.request_of_row()
    for batch in shuffled(loader, 1, 1):
        of_pair = request[batch.rows.numpy()]
        assert len(np.unique(of_pair)) == len(batch.queries)
        assert len(batch.rows) == np.isin(request, of_pair).sum()
        assert (np.diff(batch.pair_query.numpy()) >= 0).all()


def test_pairs_point_at_their_item_and_query(loader: RequestLoader, export: Export):
    batch = shuffled(loader, 5, 1)[0]
    rows, keys = loader.rows, export.queries[0]
    owner = rows.request_of_row()
    for pair in range(0, len(batch.rows), 17):
        row = int(batch.rows[pair])
        item_id = export.items.item_id[rows.item[row]]
        assert batch.items.item_id[batch.pair_item[pair]] == bucket(item_id, loader.tables.spec.id_buckets)
        key = keys[rows.query[owner[row]]]
        assert batch.queries.query_id[batch.pair_query[pair]] == bucket(key, loader.tables.spec.id_buckets)
        assert batch.cross[pair].tolist() == rows.cross[row].tolist()
        assert batch.labels[pair].tolist() == rows.labels[row].tolist()


def test_history_is_the_last_entries_of_the_visible_prefix(loader: RequestLoader, export: Export):
    rows, spec, histories = loader.rows, loader.tables.spec, export.histories
    requests = np.arange(rows.requests)
    queries = loader.tables.queries(rows, requests)
    for request in requests[:60]:
        start = histories.offsets[rows.user[request]]
        visible = list(range(start, start + rows.history_end[request]))[-spec.history_length :][::-1]
        padding = [0] * (spec.history_length - len(visible))
        ids = [bucket(export.items.item_id[histories.items[at]], spec.id_buckets) for at in visible]
        ages = [int(age_buckets(np.array(rows.ts[request] - histories.ts[at]))) for at in visible]
        assert queries.history_item[request].tolist() == ids + padding
        assert queries.history_action[request].tolist() == [int(histories.actions[at]) + 1 for at in visible] + padding
        assert queries.history_age[request].tolist() == ages + padding
        kinds = [bucket(export.items.categories[histories.items[at]][0], spec.category_buckets) for at in visible]
        assert queries.history_categories[request, :, 0].tolist() == kinds + padding


def test_the_best_items_of_a_query_come_first_and_padding_after_them(loader: RequestLoader, export: Export):
    rows, queries = loader.rows, loader.batch(np.arange(40)).queries
    lists = export.query_items
    for request in range(40):
        number = int(rows.query_items[request])
        mine = lists.items[lists.offsets[number] : lists.offsets[number + 1]].tolist() if number >= 0 else []
        for field, values in (("item_id", queries.top_item), ("categories", queries.top_categories[..., 0])):
            wanted = getattr(loader.tables.items, field)[mine].flatten().tolist()
            assert values[request].tolist() == wanted + [0] * (20 - len(mine))
    assert {-1, 0} <= set(rows.query_items.tolist())


def test_entries_after_history_end_are_never_visible():
    def last(tail: int) -> list[np.ndarray]:
        histories = Histories(
            offsets=np.array([0, 2, 6]),
            items=np.array([1, 2, 3, 4, tail, tail]),
            actions=np.array([0, 1, 0, 1, tail, tail]).astype(np.int8),
            ts=np.array([10, 20, 30, 40, tail, tail]),
        )
        found = histories.last(np.array([1, 0, 1]), np.array([2, 2, 0]), np.array([100, 100, 100]), 3)
        return [found.items, found.actions, found.age_seconds, found.valid]

    for one, other in zip(last(7), last(99), strict=True):
        assert (one == other).all()
    assert last(7)[0].tolist() == [[4, 3, 0], [2, 1, 0], [0, 0, 0]]
    assert last(7)[2].tolist() == [[60, 70, 0], [80, 90, 0], [0, 0, 0]]


def test_a_row_sees_whole_days_back_from_its_own_and_nothing_older():
    day, ts = 86_400, np.array([9 * 86_400 - 1, 10 * 86_400 - 1, 10 * 86_400])
    entries = np.array([6 * day - 1, 6 * day, 7 * day - 1, 7 * day, 8 * day])
    number = np.arange(5, dtype=np.int32)
    histories = Histories(np.array([0, 5]), number, number.astype(np.int8), entries)

    def seen(days: int | None) -> list[list[int]]:
        found = dataclasses.replace(histories, days=days).last(np.zeros(3, np.int32), np.full(3, 5), ts, 6)
        assert not found.age_seconds[~found.valid].any()
        return [row[valid].tolist() for row, valid in zip(found.items, found.valid, strict=True)]

    assert seen(2) == [[4, 3, 2, 1], [4, 3], [4]]
    assert seen(None) == [[4, 3, 2, 1, 0]] * 3


def test_an_export_says_how_far_back_its_histories_reach(export: Export):
    assert export.histories.days == export.manifest.history_days == 90


def test_a_user_base_without_any_history_is_all_padding():
    empty = np.array([], dtype=np.int32)
    found = Histories(np.array([0, 0]), empty, empty.astype(np.int8), empty.astype(np.int64)).last(
        np.array([0]), np.array([0]), np.array([5]), 2
    )
    assert not found.valid.any()


def test_segment_values_are_mapped_by_name(loader: RequestLoader, export: Export):
    spec = loader.tables.spec
    assert [mapping.tolist() for mapping in spec.segment_maps(export.manifest)] == [[0, 1, 2], [0, 1, 2]]
    grown = FeatureSpec(**{**spec.__dict__, "segments": {"country": ("", "FR"), "gender": ("", "f", "m")}})
    assert grown.segment_maps(export.manifest)[0].tolist() == [0, 0, 1]
