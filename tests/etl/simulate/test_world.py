import numpy as np
import pytest

from etl.contract.errors import UsageError
from etl.simulate.catalogue import LEAVES_PER_DEPARTMENT
from etl.simulate.config import SimulateConfig
from etl.simulate.queries import SPELLINGS
from etl.simulate.streams import Stream, generator
from etl.simulate.world import World, build_world
from tests.etl.simulate.worlds import spec


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(spec(rows=200_000))


def words_of_query(world: World, query: int) -> set[str]:
    return set(world.queries.spellings[query * SPELLINGS].split())


def test_a_world_depends_on_its_seed_alone() -> None:
    first, other = build_world(spec(seed=1)), build_world(spec(seed=2))
    build_world.cache_clear()
    again = build_world(spec(seed=1))
    assert first.catalogue.text == again.catalogue.text
    assert np.array_equal(first.queries.pool_logit, again.queries.pool_logit)
    assert np.array_equal(first.users.disposition, again.users.disposition)
    assert first.catalogue.text != other.catalogue.text


@pytest.mark.parametrize(("rows", "items", "queries"), [(1_000_000, 3000, 1500), (4_000_000, 6000, 3000)])
def test_catalogue_and_queries_grow_as_the_square_root_of_the_rows(rows: int, items: int, queries: int) -> None:
    world = build_world(spec(rows=rows))
    assert (len(world.catalogue), len(world.queries)) == (items, queries)


def test_queries_of_the_gap_share_no_word_with_any_text_and_others_do(world: World) -> None:
    in_texts = {word for text in world.catalogue.text for word in text.split()}
    assert 0.2 < world.queries.gap.mean() < 0.4
    for query, gap in enumerate(world.queries.gap.tolist()):
        assert words_of_query(world, query).isdisjoint(in_texts) == gap


def test_every_query_is_worded_in_its_own_way(world: World) -> None:
    texts = world.queries.spellings[::SPELLINGS]
    assert len(set(texts)) == len(texts)


def test_spellings_of_a_query_are_one_query_after_normalisation(world: World) -> None:
    for query in range(len(world.queries)):
        spellings = world.queries.spellings[query * SPELLINGS : (query + 1) * SPELLINGS]
        assert len({" ".join(text.lower().split()) for text in spellings}) == 1


def test_a_pool_holds_distinct_items_of_the_querys_department(world: World) -> None:
    department = world.catalogue.leaf[world.queries.pool] // LEAVES_PER_DEPARTMENT
    assert (department == world.queries.leaf[:, None] // LEAVES_PER_DEPARTMENT).all()
    assert all(len(set(pool)) == len(pool) for pool in world.queries.pool.tolist())


def test_the_text_score_counts_shared_words(world: World) -> None:
    queries = world.queries
    for query in range(0, len(queries), 50):
        for item, score in zip(queries.pool[query].tolist(), queries.pool_text[query].tolist(), strict=True):
            shared = words_of_query(world, query) & set(world.catalogue.text[item].split())
            leaf_word = shared & set(world.catalogue.words.leaf_text[queries.leaf[query]])
            assert score == len(shared) + len(leaf_word)


def test_the_query_head_follows_zipf(world: World) -> None:
    shares = np.sort(np.diff(world.queries.cumulative))[::-1]
    knobs = world.spec.knobs
    assert shares[0] / shares[9] == pytest.approx((10 + knobs.zipf_offset) / (1 + knobs.zipf_offset))


def test_a_knob_changes_its_effect_and_nothing_else() -> None:
    full, flat = build_world(spec()), build_world(spec(knobs=SimulateConfig().without("history")))
    assert full.catalogue.text == flat.catalogue.text
    assert np.array_equal(full.queries.pool, flat.queries.pool)
    assert np.allclose(full.queries.pool_logit - full.queries.pool_hidden, flat.queries.pool_logit, atol=1e-5)
    assert not flat.queries.gap.any()


def test_streams_differ_by_purpose_and_block() -> None:
    draws = {generator(1, stream, block).random() for stream in Stream for block in (0, 1)}
    assert len(draws) == 2 * len(Stream)


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_an_impossible_seed_is_a_usage_error(seed: int) -> None:
    with pytest.raises(UsageError, match="--seed"):
        generator(seed, Stream.WORLD)
