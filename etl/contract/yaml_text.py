"""YAML as data: plain values only, small however its aliases expand, every key once."""

from collections.abc import Hashable
from typing import Any

import yaml

#: Of a document with its aliases written out. A configuration has a few hundred.
MOST_NODES = 10_000


class YamlTextError(ValueError):
    """Text that is not YAML, or that no configuration needs: says where and what, and shows no value of it."""


def parse_yaml(text: str) -> Any:
    """The one document of ``text`` as plain values. Raises YamlTextError."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Checked().size(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except YamlTextError:
        raise
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise YamlTextError(_placed(error.problem_mark, problem or "not YAML")) from None
    except yaml.YAMLError as error:
        raise YamlTextError(str(error).splitlines()[0]) from None
    except RecursionError:
        raise YamlTextError("nested too deeply") from None
    except (ValueError, TypeError, AttributeError, ArithmeticError, LookupError) as error:
        # Tags and look-alikes that PyYAML chokes on: 2026-13-45, !!int x, ? {a: b}.
        raise YamlTextError(f"a value that cannot be read ({type(error).__name__})") from None


class _Checked:
    """Walks a document's nodes: how many there are with aliases written out, and that no key repeats."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def size(self, node: yaml.Node) -> int:
        if id(node) in self._sizes:
            return self._sizes[id(node)]
        if id(node) in self._open:
            raise YamlTextError(_placed(node.start_mark, "a value that holds itself"))
        self._open.add(id(node))
        size = 1 + sum(self.size(child) for child in _children(node))
        if size > MOST_NODES:
            raise YamlTextError(_placed(node.start_mark, f"more than {MOST_NODES} values, aliases written out"))
        self._open.discard(id(node))
        self._sizes[id(node)] = size
        return size


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        known: set[Hashable] = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            if name in known:
                raise YamlTextError(_placed(key.start_mark, f"key '{key.value}' stands twice: keep one of them"))
            known.add(name)
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _placed(mark: Any, problem: str) -> str:
    return problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
