"""Effective values and where they came from."""

from etl.contract.masking import HIDDEN
from etl.contract.settings import load
from scoring.config import PrerankConfig
from scoring.show_config import effective_values

S3_SECRETS = (
    "secret.key", "access.key", "session.token", "bucket.mine.secret.key", "encryption.key",
    "server-side-encryption.key",
)  # fmt: skip


def shown(**layers):
    loaded = load(PrerankConfig, layers.get("file"), layers.get("env", {}), layers.get("sets", []))
    return {entry["key"]: (entry["value"], entry["origin"]) for entry in effective_values(loaded)}


def test_a_value_names_the_layer_that_won(tmp_path):
    file = tmp_path / "prerank.yaml"
    file.write_text("lake: {root: /from/file}\ninteractions: {min_users: 2}\n")
    values = shown(file=file, env={"PRERANK__LAKE__ROOT": "/from/env"}, sets=["score.top_k=7"])
    assert values["lake.root"] == ("/from/env", "PRERANK__LAKE__ROOT")
    assert values["interactions.min_users"] == (2, str(file))
    assert values["score.top_k"] == (7, "--set score.top_k")
    assert values["train.seed"][1] == "default"


def test_a_section_within_a_section_has_the_origin_of_what_set_it(tmp_path):
    file = tmp_path / "prerank.yaml"
    file.write_text("train: {inttower: {heads: 3}}\n")
    values = shown(file=file, sets=["train.inttower.head_dim=8"])
    assert values["train.inttower.heads"] == (3, str(file))
    assert values["train.inttower.head_dim"] == (8, "--set train.inttower.head_dim")
    assert values["train.hit.heads"] == (2, "default")


def test_no_key_of_our_own_is_taken_for_a_secret():
    assert [key for key, (value, _) in shown().items() if value == HIDDEN] == []


def test_secrets_are_not_printed():
    secrets = [f"spark.conf.spark.hadoop.fs.s3a.{name}" for name in S3_SECRETS]
    values = shown(sets=[*(f"{name}=hunter2" for name in secrets), "spark.conf.spark.app.name=x"])
    assert {values[name][0] for name in secrets} == {HIDDEN}
    assert values["spark.conf.spark.app.name"][0] == "x"
