"""What hostile text looks like in a terminal, a log and JSON."""

import json

import pytest

from etl.contract.printable import json_safe, message, one_line, printable

CLEAR = "\x1b[2J\x1b]0;owned\x07"
C1, TURNED, HALF = "\x9b31m", "\u202egnp.exe", "\udc80"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (CLEAR, r"\x1b[2J\x1b]0;owned\x07"),
        (C1, r"\x9b31m"),
        (TURNED, r"\u202egnp.exe"),
        (HALF, r"\udc80"),
        ("a\r\x00b\u2028", r"a\r\x00b\u2028"),
        ("Café 日本 🙂\tx", "Café 日本 🙂\tx"),
    ],
)
def test_what_acts_on_a_terminal_is_escaped_and_letters_are_not(text, shown):
    assert printable(text) == shown
    printable(text).encode()


def test_a_value_cannot_begin_a_line_of_a_table_or_a_log():
    fake = "x\nprerank: all is well"
    assert one_line(fake) == r"x\nprerank: all is well"
    assert message(fake) == "x\n  prerank: all is well"
    assert message("failed:\n  - one\n\n  - two") == "failed:\n  - one\n\n  - two"


def test_json_stays_the_same_value():
    value = {f"k{C1}": [CLEAR, TURNED, "é\n"]}
    text = json_safe(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
