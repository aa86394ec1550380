"""What no message, log or record may show: passwords and keys, wherever they stand in it.

A key's name tells whether its value is secret; in free text it is such names before ``=`` or ``:``, the user part of a
URI, and values that a configuration or the environment has under a secret name.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

HIDDEN = "********"

_WORDS = (
    r"secret|passw(?:or)?d|passphrase|\bpwd|token|credential|api[._-]?key|(?:access|account|encryption|storage)[._-]?key"
    r"|private[._-]?key|\bprivate\b|(?:\b|[._-])sas(?:\b|[._-])|signature|\bsig\b|authorization"
)
_SECRET_KEY = re.compile(_WORDS, re.IGNORECASE)
# 'fs.s3a.secret.key=x', '"password": "x"', '?X-Amz-Signature=x', '-Dssl.password=x'.
_PAIR = re.compile(
    rf"(?P<key>[\w.-]*(?:{_WORDS})[\w.-]*[\"']?\s*(?:=|:(?=[\s\"'])|\":)\s*[\"']?(?:(?:Bearer|Basic)\s+)?)"
    # A key that a complaint is about is followed by the complaint.
    r"(?!did you mean|expected )(?P<value>[^\s\"',;&)}\]]+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?P<key>Bearer|Basic)\s+(?P<value>[\w.~+/=-]{8,})")
# A key of AWS may hold slashes, which end the user part of any other URI.
_USER_PART = re.compile(r"(?P<scheme>\b[A-Za-z][\w+.-]*://)(?:[A-Z0-9]{16,}:[^\s@]+|[^\s/@\"']+)@")
#: Shorter values are hidden by their key only: anywhere else they could be a part of any word.
_LEAST_LENGTH = 6


def is_secret(key: str) -> bool:
    """Whether a value under this dotted key must not be shown."""
    return _SECRET_KEY.search(key) is not None


def masked(key: str, value: Any) -> Any:
    """``value``, or what may be shown of it: nothing under a secret key, no password within a text."""
    if value is not None and is_secret(key):
        return HIDDEN
    return masked_text(value) if isinstance(value, str) else value


def masked_text(text: str) -> str:
    """Free text without the secrets that can be told by what stands around them."""
    text = _USER_PART.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _PAIR.sub(rf"\g<key>{HIDDEN}", text)
    return _BEARER.sub(rf"\g<key> {HIDDEN}", text)


def masked_tree(plain: Any, key: str = "") -> Any:
    """A plain value (see etl.contract.settings.to_plain) without its secrets."""
    if isinstance(plain, Mapping):
        return {name: masked_tree(item, f"{key}.{name}") for name, item in plain.items()}
    if isinstance(plain, list | tuple):
        return [masked_tree(item, key) for item in plain]
    return masked(key, plain)


class Masks:
    """Hides in texts what ``masked_text`` hides, and every secret value that it has learned of."""

    def __init__(self, *sources: Mapping[str, Any]):
        self._known: set[str] = set()
        for source in sources:
            self.learn(source)

    def learn(self, plain: Mapping[str, Any]) -> None:
        """Remember the secret values of a plain configuration, or of an environment."""
        self._known.update(value for value in _secrets(plain, "") if len(value) >= _LEAST_LENGTH)

    def __call__(self, text: str) -> str:
        # The longest first: one secret may be a part of another.
        for value in sorted(self._known, key=len, reverse=True):
            text = text.replace(value, HIDDEN)
        return masked_text(text)


def _secrets(plain: Any, key: str) -> Iterator[str]:
    if isinstance(plain, Mapping):
        for name, item in plain.items():
            yield from _secrets(item, f"{key}.{name}")
    elif isinstance(plain, list | tuple):
        for item in plain:
            yield from _secrets(item, key)
    elif isinstance(plain, str) and is_secret(key):
        yield plain
