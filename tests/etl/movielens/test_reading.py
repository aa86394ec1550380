import numpy as np
import pytest

from etl.movielens.reading import Movie, User, read_movielens
from etl.sources.errors import InputError
from tests.etl.movielens.layouts import LAYOUTS, RATINGS, ml_1m, ml_100k, recbole


@pytest.mark.parametrize("write", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_tells_the_same(write, tmp_path):
    data = read_movielens(write(tmp_path))
    assert list(zip(data.user, data.item, data.rating.tolist(), data.ts.tolist(), strict=True)) == RATINGS
    assert data.ts.dtype == np.int64
    assert data.users == {"1": User("M", "24", "technician"), "2": User("F", "53", "other")}
    assert data.movies == {
        "10": Movie("Misérables, Les (1995)", ("Action", "Drama")),
        "20": Movie('"Quoted" (1996)', ("Drama",)),
    }


def test_an_inter_file_may_be_named_where_a_folder_holds_several(tmp_path):
    recbole(tmp_path)
    (tmp_path / "other.inter").write_text("x")
    with pytest.raises(InputError, match=r"2 .inter files; name one of them"):
        read_movielens(tmp_path)
    assert len(read_movielens(tmp_path / "ml.inter").user) == len(RATINGS)


def test_an_unknown_layout_says_what_is_there_and_what_was_expected(tmp_path):
    (tmp_path / "ratings.csv").write_text("1,2,3,4")
    with pytest.raises(InputError, match=r"no ratings among ratings.csv; expected a folder with u.data"):
        read_movielens(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_movielens(tmp_path / "nowhere")


def test_a_missing_file_of_a_layout_is_named(tmp_path):
    (ml_100k(tmp_path) / "u.genre").unlink()
    with pytest.raises(InputError, match=r"u.data is there, u.genre is not"):
        read_movielens(tmp_path)


def test_a_rating_that_is_no_number_names_file_and_value(tmp_path):
    (ml_1m(tmp_path) / "ratings.dat").write_text("1::10::good::881250949\n")
    with pytest.raises(InputError, match=r"ratings.dat: .*'good'"):
        read_movielens(tmp_path)


def test_a_line_with_a_field_too_few_is_refused(tmp_path):
    (ml_1m(tmp_path) / "ratings.dat").write_text("1::10::5::881250949\n2::10::5\n")
    with pytest.raises(InputError, match=r"Expected 4 columns, got 3.*expected lines of user item rating ts"):
        read_movielens(tmp_path)


def test_a_header_without_a_needed_column_is_refused(tmp_path):
    (recbole(tmp_path) / "ml.inter").write_text("user_id:token\titem_id:token\trating:float\n1\t10\t5\n")
    with pytest.raises(InputError, match=r"ml.inter: no column 'timestamp' in its header: user_id, item_id, rating"):
        read_movielens(tmp_path)


def test_a_rating_of_somebody_unknown_is_refused(tmp_path):
    (ml_1m(tmp_path) / "users.dat").write_text("1::M::24::technician::85711\n")
    with pytest.raises(InputError, match=r"1 rated users are not in users.dat, the first is '2'"):
        read_movielens(tmp_path)


def test_the_digest_follows_the_content(tmp_path):
    first, again = read_movielens(ml_1m(tmp_path / "a")).digest, read_movielens(ml_1m(tmp_path / "b")).digest
    with (tmp_path / "b" / "ratings.dat").open("a") as file:
        file.write("1::10::5::881250999\n")
    assert first == again != read_movielens(tmp_path / "b").digest
