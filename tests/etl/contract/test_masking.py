"""What counts as a secret, and that no text shows one."""

import pytest

from etl.contract.masking import HIDDEN, Masks, is_secret, masked, masked_text, masked_tree
from etl.contract.settings import config_hash

SECRET = "hunter2+/x"


@pytest.mark.parametrize(
    "key",
    [
        "spark.conf.fs.s3a.secret.key",
        "fs.s3a.access.key",
        "fs.azure.account.key.store.dfs.core.windows.net",
        "fs.azure.sas.container.store",
        "javax.net.ssl.keyStorePassword",
        "AWS_SECRET_ACCESS_KEY",
        "OPENLINEAGE_API_KEY",
        "google.cloud.auth.service.account.private.key",
        "db.passwd",
        "oauth_token",
    ],
)
def test_a_key_that_names_a_secret_hides_its_value(key):
    assert is_secret(key)
    assert masked(key, SECRET) == HIDDEN


@pytest.mark.parametrize("key", ["lake.root", "query_key", "item_key", "spark.app.name", "disaster", "signal", "dim"])
def test_other_keys_show_theirs(key):
    assert masked(key, "value") == "value"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"s3a://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/lake", f"s3a://{HIDDEN}@bucket/lake"),
        ("no table at ftp://me:hunter2@host/x.", f"no table at ftp://{HIDDEN}@host/x."),
        ("jdbc:postgresql://h/db?user=me&password=hunter2&ssl=1", f"jdbc:postgresql://h/db?user=me&password={HIDDEN}&ssl=1"),
        ("https://b/x?X-Amz-Signature=abc123&part=2", f"https://b/x?X-Amz-Signature={HIDDEN}&part=2"),
        ("fs.s3a.secret.key=hunter2, retries=3", f"fs.s3a.secret.key={HIDDEN}, retries=3"),
        ('{"api_key": "hunter2", "url": "u"}', f'{{"api_key": "{HIDDEN}", "url": "u"}}'),
        ("-Djavax.net.ssl.trustStorePassword=hunter2 -Xmx4g", f"-Djavax.net.ssl.trustStorePassword={HIDDEN} -Xmx4g"),
        ("Authorization: Bearer abc.def-ghi", f"Authorization: Bearer {HIDDEN}"),
        ("sent with Bearer abcdefgh123", f"sent with Bearer {HIDDEN}"),
    ],
)  # fmt: skip
def test_a_secret_in_a_text_is_hidden_and_the_rest_stays(text, shown):
    assert masked_text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "events@3, interactions@12",
        "hdfs://namenode:8020/lake/events@3",
        "s3a://bucket/lake/_delta_log/0.json",
        "unknown flag '--tokens': did you mean '--to'?",
        "query_key: red shoes; item_key=7",
    ],
)
def test_texts_without_secrets_stay_as_they_are(text):
    assert masked_text(text) == text


def test_known_secrets_are_hidden_wherever_they_stand():
    masks = Masks({"AWS_SECRET_ACCESS_KEY": SECRET, "HOME": "/root", "DB_PASSWORD": "abc"})
    masks.learn({"spark": {"conf": {"fs.s3a.secret.key": "from-the-config"}}})
    text = f"java: {SECRET} and from-the-config below /root, abc"
    assert masks(text) == f"java: {HIDDEN} and {HIDDEN} below /root, abc"


def test_trees_are_masked_by_the_whole_key():
    tree = {"spark": {"conf": {"fs.secret.key": "x"}}, "credentials": {"user": "me"}, "root": ["s3a://a:b@c/d", 3]}
    assert masked_tree(tree) == {
        "spark": {"conf": {"fs.secret.key": HIDDEN}},
        "credentials": {"user": HIDDEN},
        "root": [f"s3a://{HIDDEN}@c/d", 3],
    }


def test_a_configurations_hash_tells_nothing_of_a_secret_but_of_everything_else():
    one, other = ({"conf": {"secret.key": key}, "root": "/lake"} for key in ("guess", "hunter2"))
    assert config_hash(one) == config_hash(other)
    assert config_hash(one) != config_hash(one | {"root": "/other"})
    assert config_hash(one) != config_hash({"conf": {}, "root": "/lake"})
