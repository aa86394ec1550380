import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.sources import get_source
from etl.sources.columns import CORRUPT
from etl.sources.errors import InputError, MissingColumnsError

pytestmark = pytest.mark.spark

HEADER = "request_id,ts,user_id,query,item_id,action"
LINE = "007,2026-01-01T00:00:00Z,0042,red shoe,00A,click"
ROW = {
    "request_id": "007",
    "ts": "2026-01-01T00:00:00Z",
    "user_id": "0042",
    "query": "red shoe",
    "item_id": "00A",
    "action": "click",
}


def read(spark, kind, path, table="events", renames=None):
    return get_source(kind).read(spark, str(path), table, renames or {})


def rows(df):
    return sorted((row.asDict() for row in df.toLocalIterator()), key=str)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_parquet(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**{name: [value] for name, value in ROW.items()}, **columns}), path)
    return path


def json_line(**extra):
    return str({**ROW, **extra}).replace("'", '"')


def test_csv_keeps_leading_zeros_and_empty_is_null(spark, tmp_path):
    file = write(tmp_path / "log.csv", f"{HEADER},country\n{LINE},\n")
    assert rows(read(spark, "csv", file)) == [{**ROW, "country": None, CORRUPT: None}]


def test_csv_quotes_may_hold_commas_quotes_and_line_ends(spark, tmp_path):
    file = write(tmp_path / "log.csv", f'{HEADER}\n007,1767225600,0042,"red, ""big""\nshoe",00A,click\n')
    assert [row["query"] for row in rows(read(spark, "csv", file))] == ['red, "big"\nshoe']


def test_csv_lines_may_end_with_cr_lf_or_lf_and_no_line_is_glued_to_the_next(spark, tmp_path):
    second = LINE.replace("007", "008")
    lines = [HEADER + ",country\r", LINE + ",US", second + ",\r", "half,a", second + ',"DE"\r', "\r", "half,b\r", ""]
    file = write(tmp_path / "log.csv", "")
    file.write_bytes("\n".join(lines).encode())
    found = [(row["request_id"], row["country"], row[CORRUPT]) for row in rows(read(spark, "csv", file))]
    assert sorted(found, key=str) == [
        ("007", "US", None),
        ("008", "DE", None),
        ("008", None, None),
        (None, None, "half,a"),
        (None, None, "half,b"),
    ]


def test_a_csv_whose_lines_end_with_cr_alone_is_refused(spark, tmp_path):
    file = write(tmp_path / "log.csv", "")
    file.write_bytes(f"{HEADER}\r{LINE}\r".encode())
    with pytest.raises(InputError, match="end lines with LF"):
        read(spark, "csv", file)


def test_a_csv_line_with_too_few_fields_is_kept_as_corrupt(spark, tmp_path):
    df = read(spark, "csv", write(tmp_path / "log.csv", f"{HEADER}\n{LINE}\n007,oops\n"))
    corrupt = [row for row in rows(df) if row[CORRUPT]]
    assert corrupt == [{**dict.fromkeys(ROW), CORRUPT: "007,oops"}]
    assert df.count() == 2


def test_csv_files_of_one_folder_may_differ_in_their_columns_and_order(spark, tmp_path):
    write(tmp_path / "a.csv", f"{HEADER}\n{LINE}\n")
    write(tmp_path / "b.csv", "country,action,item_id,query,user_id,ts,request_id\nDE,save,00A,red shoe,0042,0,008\n")
    found = [(row["request_id"], row["action"], row["country"]) for row in rows(read(spark, "csv", tmp_path))]
    assert found == [("007", "click", None), ("008", "save", "DE")]


def test_a_csv_header_with_a_byte_order_mark_and_spaces_is_understood(spark, tmp_path):
    file = write(tmp_path / "log.csv", "\ufeff" + HEADER.replace(",", ", ") + f"\n{LINE}\n")
    assert rows(read(spark, "csv", file)) == [{**ROW, CORRUPT: None}]


def test_a_compressed_csv_is_read(spark, tmp_path):
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(f"{HEADER}\n{LINE}\n".encode()))
    assert rows(read(spark, "csv", tmp_path)) == [{**ROW, CORRUPT: None}]


def test_a_repeated_csv_column_is_refused(spark, tmp_path):
    file = write(tmp_path / "log.csv", f"{HEADER},Query\n")
    with pytest.raises(InputError, match=r"log\.csv: its header repeats Query, query"):
        read(spark, "csv", file)


def test_json_numbers_keep_their_spelling_and_strings_their_zeros(spark, tmp_path):
    text = '{"request_id": "007", "ts": 1767225600, "user_id": 42, "query": "q", "item_id": 1.50, "action": "click"}'
    [row] = rows(read(spark, "json", write(tmp_path / "log.json", text + "\n")))
    assert (row["request_id"], row["ts"], row["user_id"], row["item_id"]) == ("007", "1767225600", "42", "1.50")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{0}\n{1}\n", id="one a line"),
        pytest.param("[{0}, {1}]", id="array on one line"),
        pytest.param("[{0}]\n[{1}]\n", id="an array a line"),
        pytest.param("[\n  {0},\n  {1}\n]\n", id="array over many lines"),
    ],
)
def test_every_layout_of_json_gives_the_same_rows(spark, tmp_path, text):
    file = write(tmp_path / "log.json", text.format(json_line(), json_line(country="DE")))
    df = read(spark, "json", file)
    assert [row["country"] for row in rows(df)] == ["DE", None]
    assert df.count() == 2


def test_json_layouts_may_be_mixed_in_one_folder(spark, tmp_path):
    write(tmp_path / "a.json", json_line(request_id="a"))
    write(tmp_path / "b.json", "[\n" + json_line(request_id="b") + "\n]")
    assert [row["request_id"] for row in rows(read(spark, "json", tmp_path))] == ["a", "b"]


def test_a_corrupt_json_line_is_kept_with_nothing_but_its_text(spark, tmp_path):
    broken = '{"request_id": "008", "ts": '
    df = read(spark, "json", write(tmp_path / "log.json", f"{json_line()}\n{broken}\n"))
    assert [row for row in rows(df) if row[CORRUPT]] == [{**dict.fromkeys(ROW), CORRUPT: broken}]


def test_corrupt_lines_can_be_counted_alone(spark, tmp_path):
    df = read(spark, "json", write(tmp_path / "log.json", f"{json_line()}\nnot json\n"))
    assert df.select(CORRUPT).where(f"{CORRUPT} IS NOT NULL").count() == 1


def test_parquet_columns_become_text_and_newer_columns_are_null_in_older_files(spark, tmp_path):
    write_parquet(tmp_path / "a.parquet", request_id=["a"], position=[3.0])
    write_parquet(tmp_path / "b.parquet", request_id=["b"], country=["DE"])
    found = [(row["request_id"], row["position"], row["country"]) for row in rows(read(spark, "parquet", tmp_path))]
    assert found == [("a", "3", None), ("b", None, "DE")]


def test_parquet_timestamps_stay_timestamps(spark, tmp_path):
    file = write_parquet(tmp_path / "a.parquet", ts=pa.array([0], pa.timestamp("us")))
    assert dict(read(spark, "parquet", file).dtypes)["ts"] == "timestamp"


def test_a_truncated_parquet_file_is_named(spark, tmp_path):
    write_parquet(tmp_path / "a.parquet")
    broken = write_parquet(tmp_path / "b.parquet")
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"b\.parquet: is not a whole Parquet file"):
        read(spark, "parquet", tmp_path)


def test_a_parquet_file_that_is_something_else_is_named(spark, tmp_path):
    with pytest.raises(InputError, match=r"log\.parquet: is not a whole Parquet file"):
        read(spark, "parquet", write(tmp_path / "log.parquet", "request_id,ts\n"))


def test_parquet_files_whose_types_disagree_are_refused(spark, tmp_path):
    write_parquet(tmp_path / "a.parquet", user_id=[1])
    write_parquet(tmp_path / "b.parquet", user_id=["1"])
    with pytest.raises(InputError, match="cannot read it as parquet"):
        read(spark, "parquet", tmp_path)


def test_nanosecond_timestamps_say_how_to_write_them(spark, tmp_path):
    file = write_parquet(tmp_path / "a.parquet", ts=pa.array([0], pa.timestamp("ns")))
    with pytest.raises(InputError, match="coerce_timestamps='us'"):
        read(spark, "parquet", file)


@pytest.mark.parametrize("name", ["log", "log/store=*", "log/*/*.csv"])
def test_partition_folders_become_text_columns(spark, tmp_path, name):
    write(tmp_path / "log/store=007/a.csv", f"{HEADER}\n{LINE}\n")
    assert [row["store"] for row in rows(read(spark, "csv", tmp_path / name))] == ["007"]


def test_plain_folders_below_are_read_and_hidden_files_are_not(spark, tmp_path):
    write(tmp_path / "a/b/log.csv", f"{HEADER}\n{LINE}\n")
    write(tmp_path / "a/_SUCCESS", "nothing")
    write(tmp_path / "a/_temporary/x.csv", "nothing")
    assert rows(read(spark, "csv", tmp_path)) == [{**ROW, CORRUPT: None}]


def test_a_name_with_glob_characters_and_spaces_is_read_literally(spark, tmp_path):
    file = write(tmp_path / "my log [1].csv", f"{HEADER}\n{LINE}\n")
    assert rows(read(spark, "csv", file)) == [{**ROW, CORRUPT: None}]


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_a_missing_path_is_named(spark, tmp_path, kind):
    with pytest.raises(InputError, match=r"nowhere: no such file or folder; check the path"):
        read(spark, kind, tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_an_empty_folder_and_empty_files_are_named(spark, tmp_path, kind):
    with pytest.raises(InputError, match="holds no files"):
        read(spark, kind, tmp_path)
    write(tmp_path / "a.log", "")
    with pytest.raises(InputError, match=r"every file is empty \(0 bytes\), .*a\.log"):
        read(spark, kind, tmp_path)


def test_no_path_and_an_unknown_file_system_are_refused(spark):
    with pytest.raises(InputError, match="no path given"):
        get_source("csv").read(spark, None, "events", {})
    with pytest.raises(InputError, match="cannot be listed"):
        read(spark, "csv", "nosuchscheme://bucket/log.csv")


def test_a_delta_table_is_not_read_as_parquet(spark, tmp_path):
    write_parquet(tmp_path / "a.parquet")
    write(tmp_path / "_delta_log/00000000000000000000.json", "{}")
    with pytest.raises(InputError, match="is a Delta table"):
        read(spark, "parquet", tmp_path)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_missing_column_lists_what_was_found_and_how_to_rename(spark, tmp_path, kind):
    text = {"csv": f"{HEADER}\n{LINE}\n", "json": json_line()}[kind].replace("query", "search_term")
    file = write(tmp_path / "log", text)
    with pytest.raises(MissingColumnsError) as raised:
        read(spark, kind, file)
    message = str(raised.value)
    assert str(file) in message
    assert "events needs column query; found: " in message
    assert "--set events.columns.query=search_term" in message
    assert rows(read(spark, kind, file, renames={"query": "search_term"})) == [{**ROW, CORRUPT: None}]


def test_a_json_file_without_any_document_has_no_columns(spark, tmp_path):
    with pytest.raises(MissingColumnsError, match="found: no columns"):
        read(spark, "json", write(tmp_path / "log.json", "oops\n"))


def test_candidates_get_a_list_of_items_from_every_format(spark, tmp_path):
    ours = "request_id,query,user_id,items\n"
    write(tmp_path / "a.csv", ours + 'r1,q,u,001|002\nr2,q,u,"[""001"", ""002""]"\n')
    write(tmp_path / "a.json", '{"request_id": "r3", "query": "q", "user_id": "u", "items": ["001", "002"]}')
    for kind in ("csv", "json"):
        df = read(spark, kind, tmp_path / f"a.{kind}", "candidates")
        assert [row["items"] for row in rows(df)] == [["001", "002"]] * df.count()


def test_candidates_without_items_have_an_empty_list_and_broken_lists_none(spark, tmp_path):
    ours = "request_id,query,user_id,items\n"
    file = write(tmp_path / "a.csv", ours + 'r1,q,u,\nr2,q,u," "\nr3,q,u,[]\nr4,q,u,[broken\n')
    found = {row["request_id"]: row["items"] for row in rows(read(spark, "csv", file, "candidates"))}
    assert found == {"r1": [], "r2": [], "r3": [], "r4": None}
    file = write(tmp_path / "a.json", '{"request_id": "r1", "query": "q", "user_id": "u", "items": null}')
    assert [row["items"] for row in rows(read(spark, "json", file, "candidates"))] == [[]]
    file = write(tmp_path / "b.csv", "request_id,query,user_id\nr1,q,u\n")
    assert "items" not in read(spark, "csv", file, "candidates").columns


def test_a_catalogue_keeps_its_other_columns(spark, tmp_path):
    file = write(tmp_path / "items.csv", "sku,text,price\n007,red shoe,9.50\n")
    found = rows(read(spark, "csv", file, "items", {"item_id": "sku"}))
    assert found == [{"item_id": "007", "text": "red shoe", "price": "9.50", CORRUPT: None}]


DAYS = "{2026-01-01,2026-01-02,2026-01-03}"


@pytest.mark.parametrize("given", ["{}/ds=DAYS", "file://{}/ds=DAYS/*.csv", "{}/ds=DAYS/log-DAYS.csv"])
def test_every_word_of_a_glob_has_to_stand_for_some_rows(spark, tmp_path, given):
    path = given.format(tmp_path).replace("DAYS", DAYS)
    for day in ("2026-01-01", "2026-01-03"):
        write(tmp_path / f"ds={day}" / f"log-{day}.csv", f"{HEADER}\n{LINE}\n")
    with pytest.raises(InputError, match=r"nothing is there for 2026-01-02 .*bring it, or leave it out"):
        read(spark, "csv", path)
    # Single files of the day would be refused as well.
    write(tmp_path / "ds=2026-01-02" / "log-2026-01-02.csv", "")
    write(tmp_path / "ds=2026-01-02" / "_log.csv", f"{HEADER}\n{LINE}\n")
    with pytest.raises(InputError, match="nothing is there for 2026-01-02 "):
        read(spark, "csv", path)
    write(tmp_path / "ds=2026-01-02" / "log-2026-01-02.csv", f"{HEADER}\n{LINE}\n")
    assert read(spark, "csv", path).count() == 3


@pytest.mark.parametrize("pattern", ["{a,b}.csv", "{a*,b*}.csv", "{a,{b,c}}.csv", "a{,-late}.csv"])
def test_words_that_are_no_plain_words_may_match_nothing_and_braces_may_be_a_name(spark, tmp_path, pattern):
    name = pattern if pattern == "{a,b}.csv" else "a.csv"
    write(tmp_path / name, f"{HEADER}\n{LINE}\n")
    assert read(spark, "csv", tmp_path / pattern).count() == 1
