"""Text of logs, ids and error messages as it may go to a terminal or a log: nothing in it acts, nothing hides.

What is no printable character is written as an escape: ANSI sequences, line breaks that would fake a line of the log,
marks that turn the direction of writing, half surrogates that no encoding takes.
"""

import re

# C0 and C1 controls, line and paragraph separators, marks of direction, surrogates, the byte order mark.
_UNSAFE = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_OF_A_TEXT = re.compile(f"[{_UNSAFE}]")
_OF_A_LINE = re.compile(f"[\t\n{_UNSAFE}]")
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    """``text`` with its lines and tabs, everything else that is not printable escaped."""
    return _OF_A_TEXT.sub(_escape, text)


def one_line(text: str) -> str:
    """``text`` as one line: line breaks and tabs are escaped as well."""
    return _OF_A_LINE.sub(_escape, text)


def json_safe(text: str) -> str:
    """JSON with the characters that it may hold but a terminal acts upon written as JSON's own escapes."""
    return _OF_A_TEXT.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def message(text: str) -> str:
    """A message of several lines of which only the first can begin a line of a log: the others are indented."""
    first, *others = printable(text).split("\n")
    return "\n".join([first, *(line if line.startswith(" ") or not line else f"  {line}" for line in others)])


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
