import pytest
from pyspark import SparkConf

from etl.config import SparkConfig
from etl.contract.errors import UnknownNameError
from etl.session import DELTA_PACKAGE, delta_conf, profile_conf, with_jars, without_submitted


@pytest.mark.parametrize("profile", ["local", "cpu", "gpu", "gpu_training", "rapids"])
def test_no_profile_changes_what_results_depend_on(profile):
    conf = profile_conf(SparkConfig(profile))
    assert conf["spark.sql.session.timeZone"] == "UTC"
    assert conf["spark.sql.ansi.enabled"] == "true"
    assert "Delta" in conf["spark.sql.extensions"]


def test_single_settings_win_over_the_profile():
    conf = profile_conf(SparkConfig("local", {"spark.driver.memory": "1g"}))
    assert conf["spark.driver.memory"] == "1g"


def test_only_the_local_profile_sizes_the_driver():
    assert "spark.driver.memory" in profile_conf(SparkConfig("local"))
    assert "spark.driver.memory" not in profile_conf(SparkConfig("cpu"))


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'local'"):
        profile_conf(SparkConfig("loca"))


def test_delta_comes_from_the_cache_when_it_is_there(tmp_path):
    assert delta_conf(tmp_path) == {"spark.jars.packages": DELTA_PACKAGE}
    jars = tmp_path / "jars"
    jars.mkdir()
    group, artifact, version = DELTA_PACKAGE.split(":")
    names = [f"{group}_{artifact}-{version}.jar", f"{group}_delta-storage-{version}.jar"]
    for name in [*names, f"{group}_delta-storage-0.0.1.jar", "other.jar"]:
        (jars / name).touch()
    assert delta_conf(tmp_path) == {"spark.jars": ",".join(str(jars / name) for name in sorted(names))}


@pytest.mark.parametrize("fetched", [True, False])
def test_further_jars_come_beside_those_of_delta(tmp_path, fetched: bool):
    group, artifact, version = DELTA_PACKAGE.split(":")
    (tmp_path / "jars").mkdir()
    jar = tmp_path / "jars" / f"{group}_{artifact}-{version}.jar"
    if fetched:
        jar.touch()
    conf = delta_conf(tmp_path, ["g:a:1", "g:b:2"])
    assert conf.get("spark.jars") == (str(jar) if fetched else None)
    assert conf["spark.jars.packages"] == ("g:a:1,g:b:2" if fetched else f"{DELTA_PACKAGE},g:a:1,g:b:2")


@pytest.mark.parametrize(
    ("given", "packages"),
    [({"spark.jars": "/a.jar"}, "g:b:2"), ({"spark.jars.packages": "g:a:1"}, "g:a:1,g:b:2")],
)
def test_further_jars_come_beside_those_that_a_user_names(given, packages):
    assert with_jars(given, ["g:b:2"]) == given | {"spark.jars.packages": packages}
    assert with_jars(given, []) == given


@pytest.mark.parametrize(
    ("submitted", "expected"),
    [
        ({}, {"memory": "1g", "zone": "UTC", "daemon": "etl.worker_daemon"}),
        ({"memory": "9g", "zone": "CET", "daemon": "own"}, {"zone": "UTC"}),
        ({"spark.submit.pyFiles": "code.zip"}, {"memory": "1g", "zone": "UTC"}),
    ],
)
def test_spark_submit_decides_sizes_and_sent_code_starts_without_ours(monkeypatch, submitted, expected):
    names = {
        "memory": "spark.driver.memory", "zone": "spark.sql.session.timeZone", "daemon": "spark.python.daemon.module",
    }  # fmt: skip
    conf = {names["memory"]: "1g", names["zone"]: "UTC", names["daemon"]: "etl.worker_daemon"}
    of_submit = SparkConf(loadDefaults=False).setAll([(names.get(key, key), value) for key, value in submitted.items()])
    monkeypatch.setattr("etl.session.SparkContext._ensure_initialized", lambda: None)
    monkeypatch.setattr("etl.session.SparkConf", lambda: of_submit)
    assert without_submitted(conf, {}) == {names[key]: value for key, value in expected.items()}


@pytest.mark.parametrize(
    ("key", "ours", "theirs"),
    [
        ("spark.python.daemon.module", "etl.worker_daemon", "mine"),
        ("spark.python.sql.dataFrameDebugging.enabled", "false", "true"),
        ("spark.sql.codegen.cache.maxEntries", "2000", "100"),
    ],
)
def test_what_only_saves_time_is_the_users_to_change(key, ours, theirs):
    assert profile_conf(SparkConfig("cpu"))[key] == ours
    assert profile_conf(SparkConfig("cpu", {key: theirs}))[key] == theirs
