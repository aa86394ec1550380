"""Random configurations and command lines: a valid one, or an explanation; never another exception."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.contract.errors import PrerankError, UsageError
from etl.contract.printable import printable
from etl.contract.settings import config_hash, flatten, load
from scoring.config import PrerankConfig
from scoring.main import build_parser, main, parse
from scoring.show_config import effective_values

KEYS = tuple(flatten(PrerankConfig()))
SECTIONS = sorted({key.split(".")[0] for key in KEYS})
LEAVES = sorted({name for key in KEYS for name in key.split(".")[1:]})

names = st.one_of(st.sampled_from([*SECTIONS, *LEAVES]), st.text(max_size=8), st.integers(), st.none())
scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=4), st.dates()),
    st.sampled_from(
        [10**400, -(2**63) - 1, "1e999", "2026-13-45", "~", "nan", "`'; DROP TABLE events", "{{ ds }}", ""]
    ),
)


def nested(inner):
    return st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4))


values = st.recursive(scalars, nested, max_leaves=8)
#: Mostly well-formed: a value of the wrong kind under a key that there is.
sections = st.dictionaries(st.sampled_from(LEAVES), values, max_size=3)
trees = st.dictionaries(st.sampled_from(SECTIONS), sections, max_size=3)
texts = st.one_of(
    st.text(max_size=60),
    trees.map(lambda tree: yaml.dump(tree, allow_unicode=True)),
    values.map(yaml.dump),
    st.text("[]{}:,&*!?|>-'\"\\%@`# \n\tab01.", max_size=40),
)
settings_ = st.tuples(st.one_of(st.sampled_from(KEYS), st.text(max_size=12)), st.one_of(texts, scalars.map(repr)))


def build(file, env, sets):
    """Load and use a configuration as the program does before a verb runs; PrerankError at most."""
    try:
        loaded = load(PrerankConfig, file, env, sets)
    except PrerankError as error:
        printable(str(error)).encode()
        return
    entries = effective_values(loaded)
    assert {entry["key"] for entry in entries} >= set(SECTIONS) & {"heads"}
    json.dumps(entries, allow_nan=False)
    assert len(config_hash(loaded.config)) == 16


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "prerank.yaml"


@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_any_file_is_a_configuration_or_is_refused(file, text):
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    build(file, {}, [])


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_a_configuration_or_are_refused(file, content):
    file.write_bytes(content)
    build(file, {}, [])


@settings(max_examples=150, deadline=None)
@given(layers=st.lists(settings_, max_size=3), env=st.lists(settings_, max_size=2))
def test_any_override_is_taken_or_is_refused(file, layers, env):
    file.write_text("spark: {conf: {a.b: c}}\nmonitor: {gates: {}}\n")
    variables = {f"PRERANK__{key.upper().replace('.', '__')}": text for key, text in env}
    build(file, variables, [f"{key}={text}" for key, text in layers])


VERBS = {name: verb for action in build_parser()._actions if action.choices for name, verb in action.choices.items()}
FLAGS = sorted({flag for verb in VERBS.values() for action in verb._actions for flag in action.option_strings})
HELP = {"-h", "--help"}
words = st.one_of(
    *(st.sampled_from(sorted(VERBS)), st.sampled_from(FLAGS), st.text(max_size=8)),
    st.sampled_from(
        ["--", "-", "---", "--=", "--ds=", "-1", "9" * 5000, "\x00", "\udc80", "\x1b[2J", "2026-01-01", "@x"]
    ),
)


@settings(max_examples=300, deadline=None)
@given(verb=st.sampled_from(sorted(VERBS)), rest=st.lists(words, max_size=6), anywhere=st.booleans())
def test_any_command_line_is_parsed_or_is_a_usage_error(verb, rest, anywhere):
    argv = [*rest, verb] if anywhere else [verb, *rest]
    if HELP & set(argv):
        return
    assert outcome(argv) in ("parsed", "usage error")


def outcome(argv):
    try:
        args = parse(argv)
    except UsageError as error:
        return "usage error" if error.exit_code == 2 and str(error) else "nothing is said"
    return "parsed" if callable(args.run) else "nothing to run"


HOSTILE = (["lineage"], ["--", "-"], ["scor\x1be", "x"], ["ingest", "--source", "\udc80"], ["\x00"])


@pytest.mark.parametrize("argv", HOSTILE)
def test_a_hostile_command_line_ends_with_2_and_one_printable_line(argv, capsys):
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert said.startswith("prerank: ")
    assert len(said.splitlines()) == 1
    assert said.strip().isprintable()
