"""Lists read from Parquet files by request, whatever the encoding, the row groups and the order of asking."""

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoring import candidate_files
from scoring.candidate_files import CandidateFiles, _coded, hashed_lists
from scoring.errors import ScoringError
from scoring.xxhash import xxhash64

LISTS: dict[str, list[str | None]] = {f"r{at}": [f"i{at * n % 7}" for n in range(at)] for at in range(9)} | {
    "r9": ["i1", None]
}


@pytest.fixture(params=[True, False], ids=["coded", "plain"])
def uri(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    folder = tmp_path / "ds=2026-01-01 x"
    folder.mkdir()
    return written(folder / "a.parquet", LISTS, request.param)


def written(path: Path, lists: dict[str, list[str | None]], coded: bool, group: int = 3) -> str:
    table = pa.table({"request_id": list(lists), "items": pa.array(list(lists.values()), pa.list_(pa.string()))})
    # The format of Spark's files; a later one calls the pages of the dictionary itself plain.
    pq.write_table(table, path, row_group_size=group, use_dictionary=coded, version="1.0")
    metadata = pq.read_metadata(path)
    found = [_coded(metadata.row_group(number)) for number in range(metadata.num_row_groups)]
    assert found == [["items.list.element"] if coded else []] * len(found)
    return path.as_uri()


def hashes(names: list[str]) -> list[list[int]]:
    return [xxhash64(pa.array(LISTS[name], pa.string())).tolist() for name in names]


def read(files: CandidateFiles, uri: str, names: list[str]) -> list[list[int]]:
    return files.lists(pa.array([uri] * len(names), pa.string()), pa.array(names, pa.string())).to_pylist()


@pytest.mark.parametrize("names", [list(LISTS), ["r2", "r3", "r8"], ["r8", "r1", "r4"], []], ids=str)
def test_lists_come_in_the_order_of_asking(uri, names):
    assert read(CandidateFiles(), uri + "#0-99999999", names) == hashes(names)


def test_one_request_after_the_other_and_back_again(uri):
    files = CandidateFiles()
    for names in (["r1"], ["r2", "r5"], ["r9"], ["r0", "r1"]):
        assert read(files, uri + "#0-99999999", names) == hashes(names)


def test_shares_of_a_file_together_hold_each_request_once(uri):
    size = 99_999
    cuts = [0, 200, 400, size]
    found = []
    for low, high in pairwise(cuts):
        files = CandidateFiles()
        found.append(read(files, f"{uri}#{low}-{high - low}", ["r4"]))
    assert found == [hashes(["r4"])] * 3  # a share that does not hold a request falls back on the whole file


def test_several_files_in_one_batch(uri):
    other = uri + "#0-99999999"
    lists = CandidateFiles().lists(pa.array([uri + "#0-9", other, other]), pa.array(["r1", "r2", "r1"]))
    assert lists.to_pylist() == hashes(["r1", "r2", "r1"])


def test_a_request_or_file_that_is_gone_is_an_error_that_says_what_to_do(uri):
    with pytest.raises(ScoringError, match=r"'gone'.*run the same command again"):
        read(CandidateFiles(), uri + "#0-99999999", ["r1", "gone"])
    with pytest.raises(ScoringError, match="direct_read=false"):
        read(CandidateFiles(), uri + ".not#0-9", ["r1"])


def test_a_dictionary_is_hashed_once_for_all_batches_that_share_it(tmp_path, monkeypatch):
    lists = {f"r{at}": [f"i{at % 3}", "i5"] for at in range(7)}
    uri, hashed = written(tmp_path / "b.parquet", lists, coded=True, group=4), []

    def counted(strings):
        hashed.append(strings.to_pylist())
        return xxhash64(strings)

    monkeypatch.setattr(candidate_files, "_REQUESTS_AT_ONCE", 2)
    monkeypatch.setattr(candidate_files, "xxhash64", counted)
    found = read(CandidateFiles(), uri + "#0-99999999", list(lists))
    assert found == [xxhash64(pa.array(one)).tolist() for one in lists.values()]
    assert hashed == [["i0", "i5", "i1", "i2"], [None], ["i1", "i5", "i2", "i0"], [None]]


@pytest.mark.parametrize(("length", "sizes"), [(1, [3, 3, 1]), (4, [3, 3, 1]), (5, [2, 2, 2, 1]), (99, [1] * 7)])
def test_the_longer_the_lists_the_fewer_are_decoded_at_once(tmp_path, monkeypatch, length, sizes):
    lists = {f"r{at}": [f"i{n}" for n in range(length)] for at in range(7)}
    written(tmp_path / "c.parquet", lists, coded=True, group=7)
    monkeypatch.setattr(candidate_files, "_REQUESTS_AT_ONCE", 3)
    monkeypatch.setattr(candidate_files, "_ITEMS_AT_ONCE", 12)
    batches = list(candidate_files._batches(str(tmp_path / "c.parquet"), ""))
    assert [len(batch) for batch in batches] == sizes
    assert [row for batch in batches for row in batch["items"].to_pylist()] == list(lists.values())


def test_slices_of_lists_are_hashed_alone():
    lists = pa.array([["a"], ["b", None], [], ["c"]], pa.list_(pa.string()))
    coded = pa.ListArray.from_arrays(lists.offsets, lists.values.dictionary_encode())
    expected = [xxhash64(pa.array(one, pa.string())).tolist() for one in lists.to_pylist()]
    for kind in (lists, coded):
        assert hashed_lists(kind.slice(1, 2)).to_pylist() == expected[1:3]
