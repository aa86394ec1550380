"""What a commit's log entry tells of the rows that it added, and when it cannot tell."""

import json

import pytest

from etl.delta_log import commit_info, committed_at, rows_added
from etl.storage_errors import DamagedLogError

pytestmark = pytest.mark.spark

INFO = {"commitInfo": {"operation": "WRITE", "userMetadata": "ours"}}


def added(rows):
    return {"add": {"path": "a.parquet", **({} if rows is None else {"stats": json.dumps({"numRecords": rows})})}}


@pytest.fixture
def table(tmp_path):
    (tmp_path / "_delta_log").mkdir()

    def commit(*actions):
        lines = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in (INFO, *actions)]
        (tmp_path / "_delta_log" / f"{0:020d}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(tmp_path)

    return commit


@pytest.mark.parametrize(
    ("actions", "whole", "rows"),
    [
        ([added(2), added(3)], True, 5),
        ([], True, 0),
        ([added(2), {"remove": {"path": "b.parquet"}}], True, 2),
        ([added(2), {"remove": {"path": "b.parquet"}}], False, None),
        ([added(2)], False, 2),
        ([added(2), added(None)], True, None),
    ],
    ids=["files", "nothing", "whole files replaced", "rows written again", "nothing removed", "no statistics"],
)
def test_rows_added_are_told_by_the_files_of_the_commit(spark, table, actions, whole, rows):
    assert rows_added(spark, table(*actions), 0, whole=whole) == rows


def test_ids_may_hold_what_unicode_counts_as_the_end_of_a_line(spark, table):
    path = table({"add": {"path": "ds=a\u2028b\x85c.parquet", "stats": '{"numRecords":2}'}})
    assert rows_added(spark, path, 0, whole=True) == 2


def test_an_entry_that_is_not_whole_is_a_damaged_log(spark, table):
    path = table('{"add": {"path"')
    assert commit_info(spark, path, 0) == INFO["commitInfo"]
    with pytest.raises(DamagedLogError, match="is not whole JSON"):
        rows_added(spark, path, 0, whole=True)


def test_of_an_entry_that_is_gone_nothing_is_known(spark, tmp_path):
    assert commit_info(spark, str(tmp_path), 7) == {}
    assert committed_at(spark, str(tmp_path), 7) is None
