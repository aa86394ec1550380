import subprocess
import sys

import numpy as np

from models.hashing import AGE_BUCKETS, age_buckets, bucket, bucket_ids, text_features, text_ids


def test_words_come_before_their_ngrams_and_nothing_repeats():
    assert text_features("Red re red", 3) == ["w:red", "w:re", "g:<re", "g:red", "g:ed>", "g:re>"]


def test_equal_strings_share_a_bucket_and_empty_ones_are_zero():
    ids = bucket_ids(["a", "", "b", "a"], 50)
    assert ids[0] == ids[3] != ids[2]
    assert ids[1] == 0
    assert (ids[[0, 2]] > 0).all()


def test_buckets_stay_below_their_number():
    ids = bucket_ids([str(value) for value in range(500)], 7)
    assert set(ids) == {1, 2, 3, 4, 5, 6}


def test_buckets_are_the_same_in_another_process():
    code = "from models.hashing import bucket; print(bucket('Schöne Schuhe', 1000))"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"}
    )
    assert int(out.stdout) == bucket("Schöne Schuhe", 1000)


def test_text_is_truncated_and_padded():
    ids = text_ids(["", "one", "one two three"], 1000, ngram=3, width=4)
    assert ids.shape == (3, 4)
    assert (ids[0] == 0).all()
    assert (ids[1] > 0).sum() == 4
    assert ids[2, 0] == ids[1, 0] == bucket("w:one", 1000)


def test_age_buckets_grow_with_age_and_leave_zero_for_padding():
    hour = 3600
    ages = age_buckets(np.array([0, hour - 1, hour, 2 * hour, 3 * hour, 10**12]))
    assert ages.tolist() == [1, 1, 2, 2, 3, AGE_BUCKETS - 1]
