"""YAML that builds objects, explodes, repeats itself or is broken is refused with its place, and never shown."""

import pytest

from etl.contract.yaml_text import MOST_NODES, YamlTextError, parse_yaml


def bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merges(levels: int, width: int) -> str:
    lines = ["m0: &m0 {x: 1}"]
    lines += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * width)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lake: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: &a [*a]", "holds itself"),
        (bomb(30, 9), f"more than {MOST_NODES} values"),
        (merges(12, 9), "more than"),
        ("lake: {root: a}\nevents: {}\nlake: {root: b}", "line 3, column 1: key 'lake' stands twice"),
        ("[" * 5000, "nested too deeply"),
        ("d: 2026-13-45", "cannot be read"),
        ("n: !!int x", "cannot be read"),
        ("? {a: b}\n: c", "unhashable"),
        ("n: 0b_", "cannot be read"),
        ("a: b: hunter2", "line 1, column 5: mapping values"),
        ("a: \x00hunter2", "unacceptable character"),
        ("a\n---\nb", "single document"),
    ],
)  # fmt: skip
def test_hostile_text_is_refused_in_one_line_that_shows_no_value(text, complaint):
    with pytest.raises(YamlTextError, match=complaint) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_aliases_and_merges_of_a_usual_size_are_yaml_as_ever():
    text = "base: &base {min: 1, max: 2}\nother: {<<: *base, max: 3}\nboth: [*base, *base]"
    found = parse_yaml(text)
    assert found["other"] == {"min": 1, "max": 3}
    assert found["both"] == [{"min": 1, "max": 2}] * 2
    assert parse_yaml("") is None
