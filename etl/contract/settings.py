"""Layered configuration: defaults <- prerank.yaml <- environment ``PRERANK__A__B`` <- ``--set a.b=value``.

The shape is a frozen dataclass of frozen dataclasses; this module knows nothing of the sections themselves.
Unknown keys are refused with the nearest known one, and every value remembers where it came from.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from etl.contract.errors import UnknownNameError, UsageError
from etl.contract.masking import masked, masked_tree
from etl.contract.yaml_text import YamlTextError, parse_yaml

ENV_PREFIX = "PRERANK__"
DEFAULT_FILE = "prerank.yaml"

C = TypeVar("C")
_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_WITHIN = {int: "a whole number of at most 64 bits", float: "a number that is finite", str: "Unicode text without NUL"}
_SHOWN_CHARS = 100
_LARGEST = sys.float_info.max


@dataclasses.dataclass(frozen=True)
class Loaded(Generic[C]):
    """A configuration and, for every dotted key that is not a default, where its value came from."""

    config: C
    origins: dict[str, str]


def load(shape: type[C], file: Path | None, env: Mapping[str, str], sets: Iterable[str]) -> Loaded[C]:
    """Build ``shape`` from its layers.

    ``file`` None means ``prerank.yaml`` in the current folder if there is one. Raises UsageError.
    """
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, key, value in _layers(file, env, sets):
        path = _resolve(shape, key, origin)
        _put(tree, path, value)
        dotted = ".".join(path)
        for stale in [name for name in origins if name.startswith(dotted + ".")]:
            del origins[stale]
        origins[dotted] = origin
    return Loaded(_build(shape, tree, ""), origins)


def build(shape: type[C], plain: Mapping[str, Any]) -> C:
    """The configuration that ``to_plain`` made ``plain`` of. Raises UsageError."""
    built: C = _build(shape, plain, "")
    return built


def flatten(config: Any) -> dict[str, Any]:
    """Every leaf of the configuration by dotted key, as plain JSON values."""
    leaves: dict[str, Any] = {}
    for section in dataclasses.fields(config):
        value = getattr(config, section.name)
        if dataclasses.is_dataclass(value):
            leaves |= {f"{section.name}.{key}": leaf for key, leaf in flatten(value).items()}
        else:
            leaves[section.name] = to_plain(value)
    return leaves


def to_plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def digest(value: Any) -> str:
    """A short, stable hash of a plain value or a configuration."""
    text = json.dumps(to_plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def config_hash(config: Any) -> str:
    """The digest of a configuration for records: of its secrets only that they are set, so that none can be guessed."""
    return digest(masked_tree(to_plain(config)))


def _layers(
    file: Path | None, env: Mapping[str, str], sets: Iterable[str]
) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield (origin, key path, value), weakest first."""
    path = file or Path(DEFAULT_FILE)
    if file is not None and not path.is_file():
        raise UsageError(f"no configuration file at {path}")
    if path.is_file():
        for key, value in _walk(_read_yaml(path)):
            yield str(path), key, value
    for name in sorted(env):
        if name.startswith(ENV_PREFIX):
            yield name, tuple(name[len(ENV_PREFIX) :].lower().split("__")), _scalar(env[name], name)
    for item in sets:
        key_text, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"--set {item}: expected section.key=value, for example --set lake.root=./lake")
        yield f"--set {key_text}", tuple(key_text.strip().split(".")), _scalar(text, f"--set {key_text}")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except YamlTextError as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not valid YAML: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UsageError(f"{path}: expected sections at the top level, such as 'lake:', found {type(tree).__name__}")
    return tree


def _walk(tree: Mapping[Any, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        path = (*prefix, str(key))
        if isinstance(value, Mapping) and len(path) < 2:
            yield from _walk(value, path)
        elif value is not None or len(path) > 1:
            # A section without keys, 'events:', says nothing.
            yield path, value


def _scalar(text: str, where: str) -> Any:
    try:
        value = parse_yaml(text)
    except YamlTextError as error:
        shown = masked(where, text[:_SHOWN_CHARS])
        raise UsageError(f"{where}: '{shown}' is not a YAML value: {error}") from error
    if text.strip().lower() in ("null", "~"):
        return None
    # An unquoted date, or nothing at all, was meant as text.
    return value if isinstance(value, str | int | float | bool | list | dict) else text


def _resolve(shape: type, key: tuple[str, ...], origin: str) -> tuple[str, ...]:
    """Check a key path against the shape; keys below a mapping field are joined again ('spark.conf.a.b')."""
    current: Any = shape
    done: list[str] = []
    for depth, name in enumerate(key):
        hints = typing.get_type_hints(current)
        if name not in hints:
            where = ".".join(done)
            kind = f"configuration key in section '{where}'" if done else "configuration section"
            raise UnknownNameError(f"{kind} (from {origin})", name, hints)
        done.append(name)
        current = hints[name]
        if typing.get_origin(current) is dict and key[depth + 1 :]:
            return (*done, ".".join(key[depth + 1 :]))
        if not dataclasses.is_dataclass(current) and key[depth + 1 :]:
            raise UsageError(f"{origin}: '{'.'.join(done)}' has no keys below it")
    return tuple(done)


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for depth, name in enumerate(path[:-1]):
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise _wrong(".".join(path[: depth + 1]), "a section with keys", tree)
    tree[path[-1]] = value


def _build(shape: Any, value: Any, where: str) -> Any:
    """Turn plain values into the shape's types; every complaint names the key."""
    origin = typing.get_origin(shape)
    if dataclasses.is_dataclass(shape):
        return _build_dataclass(shape, value, where)
    if origin is tuple:
        if isinstance(value, str):
            value = [part for part in value.replace(",", " ").split() if part]
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = [value]
        if not isinstance(value, list | tuple):
            raise _wrong(where, "a list", value)
        (item, _) = typing.get_args(shape)
        return tuple(_build(item, element, f"{where}[{index}]") for index, element in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(where, "a mapping", value)
        items = {_text(str(name), where): item for name, item in value.items()}
        return {name: _build(typing.get_args(shape)[1], item, f"{where}.{name}") for name, item in items.items()}
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _build(typing.get_args(shape)[0], value, where)
    return _build_scalar(shape, value, where)


def _build_dataclass(shape: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(where, "a section with keys", value)
    hints = typing.get_type_hints(shape)
    for name in value:
        if name not in hints:
            raise UnknownNameError(f"configuration key in '{where}'", str(name), hints)
    prefix = f"{where}." if where else ""
    try:
        return shape(**{name: _build(hints[name], item, prefix + name) for name, item in value.items()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"configuration '{where or 'root'}': {error}") from error


def _build_scalar(shape: Any, value: Any, where: str) -> Any:
    if shape in (int, float) and isinstance(value, str):
        value = _number(value)
    if shape is str and isinstance(value, str | int | float | bool):
        return _text(str(value).lower() if isinstance(value, bool) else str(value), where)
    if isinstance(value, bool) != (shape is bool) or not isinstance(value, (int, float) if shape is float else shape):
        raise _wrong(where, _EXPECTED[shape], value)
    if shape is float and not (abs(value) <= _LARGEST and math.isfinite(value)):
        raise _wrong(where, _WITHIN[shape], value)
    if shape is int and not -(2**63) <= value < 2**63:
        raise _wrong(where, _WITHIN[shape], value)
    return float(value) if shape is float else value


def _text(value: str, where: str) -> str:
    """Text that a file name, a hash and Java can hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _wrong(where, _WITHIN[str], value) from None
    if "\0" in value:
        raise _wrong(where, _WITHIN[str], value)
    return value


def _number(text: str) -> int | float | str:
    """YAML reads 1e-3 as text."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _wrong(where: str, expected: str, value: Any) -> UsageError:
    try:
        shown = repr(masked_tree(value, where))
    except ValueError:  # a number of too many digits
        shown = f"a {type(value).__name__}"
    shown = shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."
    return UsageError(f"configuration '{where}': expected {expected}, found {shown}")
