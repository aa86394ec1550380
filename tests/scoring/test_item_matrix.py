"""A matrix on disk: what is written is mapped back, in any number of shards, and a damaged one is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from scoring.errors import ScoringError
from scoring.item_matrix import HASHES, MANIFEST, ItemMatrix, MatrixPart, open_matrix, write_matrix

IDS = ["a", "b", "é", "日"]
HASH = np.array([-5, 7, 2**62, 0], dtype=np.int64)
VECTORS = np.arange(8, dtype=np.float32).reshape(4, 2)
BUCKETS = np.arange(4, dtype=np.int32).reshape(4, 1)


def part(low: int, high: int) -> MatrixPart:
    return MatrixPart(pa.array(IDS[low:high]), HASH[low:high], BUCKETS[low:high], VECTORS[low:high])


def write(folder: Path, shard_rows: int = 9, cut: int = 2) -> ItemMatrix:
    return write_matrix(folder, [part(0, cut), part(cut, 4)], 4, 2, shard_rows, ("v1", "2026-01-05", "d"))


@pytest.mark.parametrize(("shard_rows", "starts"), [(9, (0, 4)), (4, (0, 4)), (3, (0, 3, 4)), (1, (0, 1, 2, 3, 4))])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_matrix_is_read_as_it_was_written(tmp_path, shard_rows, starts, cut):
    matrix = write(tmp_path / "m", shard_rows, cut)
    assert matrix.ids.to_pylist() == IDS
    assert (np.concatenate(matrix.shards) == VECTORS).all()
    assert (matrix.buckets == BUCKETS).all()
    assert matrix.starts == starts
    assert (matrix.manifest.model_version, matrix.manifest.as_of, matrix.manifest.width) == ("v1", "2026-01-05", 2)


def test_ids_stay_in_the_file_and_take_no_memory_of_a_worker(tmp_path):
    write(tmp_path / "m")
    before = pa.total_allocated_bytes()
    matrix = open_matrix(tmp_path / "m")
    assert pa.total_allocated_bytes() == before
    assert matrix.ids.to_pylist() == IDS


def test_rows_are_found_by_hash_and_unknown_ones_are_not(tmp_path):
    matrix = write(tmp_path / "m")
    asked = np.array([0, 1, -5, 2**62, 7, -5], dtype=np.int64)
    assert matrix.rows_of_hashes(asked).tolist() == [3, -1, 0, 2, 1, 0]
    assert matrix.rows_of_hashes(asked.view(np.uint64)).tolist() == [3, -1, 0, 2, 1, 0]


def test_vectors_of_several_shards_are_not_taken_for_one(tmp_path):
    assert (write(tmp_path / "one").vectors == VECTORS).all()
    with pytest.raises(ScoringError, match="2 shards"):
        _ = write(tmp_path / "two", 2).vectors


def test_equal_hashes_are_an_error_that_names_both_items(tmp_path):
    same = MatrixPart(pa.array(["a", "b"]), np.array([4, 4]), BUCKETS[:2], VECTORS[:2])
    with pytest.raises(ScoringError, match="'a' and 'b'"):
        write_matrix(tmp_path / "m", [same], 2, 2, 9, ("v1", "2026-01-05", "d"))
    assert not (tmp_path / "m").exists()


def test_an_absent_or_damaged_matrix_says_what_to_do(tmp_path):
    with pytest.raises(ScoringError, match="prerank embed"):
        open_matrix(tmp_path / "m")
    write(tmp_path / "m")
    np.save(tmp_path / "m" / HASHES, HASH[:3])
    with pytest.raises(ScoringError, match="damaged"):
        open_matrix(tmp_path / "m")
    (tmp_path / "m" / MANIFEST).unlink()
    with pytest.raises(ScoringError, match="no item vectors"):
        open_matrix(tmp_path / "m")
