from dataclasses import dataclass, field
from pathlib import Path

import pytest

from etl.contract.errors import UnknownNameError, UsageError
from etl.contract.settings import digest, flatten, load


@dataclass(frozen=True)
class Part:
    name: str
    share: float = 0.5


@dataclass(frozen=True)
class Sizes:
    days: tuple[int, ...] = (7, 30)
    limit: int = 10
    share: float = 0.25
    strict: bool = False
    label: str = "none"
    note: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError("limit must be at least 1")


@dataclass(frozen=True)
class Shape:
    sizes: Sizes = Sizes()
    parts: tuple[Part, ...] = (Part("first"),)


def loaded(tmp_path: Path, text: str = "", env: dict[str, str] | None = None, sets: tuple[str, ...] = ()):
    file = tmp_path / "some.yaml"
    file.write_text(text, encoding="utf-8")
    return load(Shape, file, env or {}, sets)


def test_without_any_layer_every_value_is_the_default(tmp_path):
    assert loaded(tmp_path).config == Shape()
    assert loaded(tmp_path).origins == {}


def test_a_missing_default_file_is_fine_but_a_named_one_must_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(Shape, None, {}, ()).config == Shape()
    (tmp_path / "prerank.yaml").write_text("sizes: {limit: 3}")
    assert load(Shape, None, {}, ()).config.sizes.limit == 3
    with pytest.raises(UsageError, match="no configuration file at"):
        load(Shape, tmp_path / "other.yaml", {}, ())


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    env = {"PRERANK__SIZES__LIMIT": "2", "PRERANK__SIZES__SHARE": "0.75", "HOME": "/"}
    result = loaded(tmp_path, "sizes: {limit: 1, share: 0.5, label: file}", env, ("sizes.limit=3",))
    assert (result.config.sizes.limit, result.config.sizes.share, result.config.sizes.label) == (3, 0.75, "file")
    assert result.origins == {
        "sizes.limit": "--set sizes.limit",
        "sizes.share": "PRERANK__SIZES__SHARE",
        "sizes.label": str(tmp_path / "some.yaml"),
    }


@pytest.mark.parametrize(
    ("text", "days"),
    [("sizes.days=[1, 2]", (1, 2)), ("sizes.days=[]", ())],
)
def test_lists_come_as_yaml(tmp_path, text, days):
    assert loaded(tmp_path, sets=(text,)).config.sizes.days == days


def test_keys_below_a_mapping_may_hold_dots(tmp_path):
    result = loaded(tmp_path, "sizes: {options: {a.b: x}}", sets=("sizes.options.c.d=1", "sizes.options.e=true"))
    assert result.config.sizes.options == {"a.b": "x", "c.d": "1", "e": "true"}


def test_replacing_a_whole_mapping_forgets_where_its_keys_came_from(tmp_path):
    result = loaded(tmp_path, "sizes: {options: {a: x}}", sets=("sizes.options.b=y", "sizes.options={c: z}"))
    assert result.config.sizes.options == {"c": "z"}
    assert result.origins == {"sizes.options": "--set sizes.options"}


def test_lists_of_sections_are_built_from_yaml(tmp_path):
    result = loaded(tmp_path, "parts:\n- {name: a, share: 1}\n- {name: b}\n")
    assert result.config.parts == (Part("a", 1.0), Part("b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size: {limit: 1}", "did you mean 'sizes'"),
        ("sizes: {limits: 1}", "did you mean 'limit'"),
        ("parts: [{nam: a}]", "did you mean 'name'"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(tmp_path, text, message):
    with pytest.raises(UnknownNameError, match=message):
        loaded(tmp_path, text)


def test_an_unknown_key_says_which_layer_it_is_in(tmp_path):
    with pytest.raises(UnknownNameError, match=r"from PRERANK__SIZES__LIMITS"):
        loaded(tmp_path, env={"PRERANK__SIZES__LIMITS": "1"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("sizes.limit=many", "'sizes.limit': expected a whole number, found 'many'"),
        ("sizes.limit=1.5", "expected a whole number"),
        ("sizes.limit=true", "expected a whole number"),
        ("sizes.share=half", "expected a number"),
        ("sizes.strict=1", "expected true or false"),
        ("sizes.days=[1, x]", r"'sizes.days\[1\]'"),
        ("sizes.days={a: 1}", "expected a list"),
        ("sizes.options=x", "expected a mapping"),
        ("sizes=x", "expected a section with keys"),
        ("sizes.limit=0", "'sizes': limit must be at least 1"),
        ("parts=[{share: 1}]", "name"),
        ("sizes.limit", "expected section.key=value"),
        ("sizes.limit.more=1", "has no keys below it"),
        ("sizes.days=[1", "is not a YAML value"),
    ],
)
def test_a_wrong_value_is_refused_by_key_and_kind(tmp_path, given, message):
    with pytest.raises(UsageError, match=message):
        loaded(tmp_path, sets=(given,))


@pytest.mark.parametrize(("text", "message"), [("[1, 2]", "expected sections"), ("a: [", "not valid YAML")])
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        loaded(tmp_path, text)


@pytest.mark.parametrize(("text", "value"), [("2026-01-01", "2026-01-01"), ("", ""), ("007", "7"), ("true", "true")])
def test_text_settings_take_whatever_yaml_makes_of_them(tmp_path, text, value):
    assert loaded(tmp_path, sets=(f"sizes.label={text}",)).config.sizes.label == value


def test_an_optional_value_can_be_set_and_left_out(tmp_path):
    assert loaded(tmp_path, "sizes: {note: null}").config.sizes.note is None
    assert loaded(tmp_path, sets=("sizes.note=hello",)).config.sizes.note == "hello"
    for nothing in ("null", "~"):
        assert loaded(tmp_path, "sizes: {note: hello}", sets=(f"sizes.note={nothing}",)).config.sizes.note is None
    with pytest.raises(UsageError, match=r"sizes\.label"):
        loaded(tmp_path, sets=("sizes.label=null",))


def test_flattening_gives_every_leaf_as_plain_values():
    assert flatten(Shape()) == {
        "sizes.days": [7, 30],
        "sizes.limit": 10,
        "sizes.share": 0.25,
        "sizes.strict": False,
        "sizes.label": "none",
        "sizes.note": None,
        "sizes.options": {},
        "parts": [{"name": "first", "share": 0.5}],
    }


def test_a_digest_depends_on_values_and_not_on_the_order_of_keys():
    assert digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})
    assert digest(Shape()) == digest(Shape())
    assert digest(Shape()) != digest(Shape(Sizes(limit=11)))
    assert len(digest(Shape())) == 16
