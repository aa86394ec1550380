"""Opening exported programs as data. A ``.pt2`` file is a zip that torch.export.load trusts: it unpickles what the zip
calls pickled, evaluates its size expressions and guards as Python, and calls whatever function of torch a node names.

What ``prerank export-serving`` writes needs none of that, so a file that does is refused before torch sees it: only
tensors, arithmetic over sizes, and ATen operators are let through. That keeps out what is known to run code; a graph
still becomes Python in torch's hands. A server that gets its folders over a way that it does not trust pins the digest
of their manifest, which holds that of every file.
"""

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

# Tensors as raw bytes, their descriptions, the graph, and inputs that torch reads as tensors only.
_MEMBERS = re.compile(
    r"[\w-]+/(?:data/weights/weight_\d+|data/constants/tensor_\d+|data/(?:weights|constants)/model_\w+_config\.json"
    r"|models/model\.json|data/sample_inputs/model\.pt|archive_format|archive_version|byteorder|version"
    r"|\.data/(?:version|serialization_id))"
)
_ARITHMETIC = "add|sub|mul|truediv|floordiv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|getitem"
_TARGETS = re.compile(
    rf"torch\.ops\.aten\.(?!from_file)\w+\.\w+|_?operator\.(?:{_ARITHMETIC})|math\.(?:ceil|floor|trunc|sqrt)"
    r"|torch\.sym_\w+|torch\.ops\.higher_order\.wrap_with_set_grad_enabled"
)
_SIZE_FUNCTIONS = {
    *("Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Mod", "Max", "Min", "FloorDiv", "CeilDiv"),
    *("CleanDiv", "TrueDiv", "IntTrueDiv", "PythonMod", "ModularIndexing", "Identity", "Where"),
    *("Equality", "Unequality", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not"),
    *("StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan"),
}
_SIZE_NODES = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Constant, ast.Name, ast.Load, ast.UnaryOp, ast.USub, ast.BinOp),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
)
# "L['text'].size()[0] == L['query_id'].size()[0]"
_GUARD = re.compile(r"(?:L\['\w+'\]\.size\(\)\[\d+\]|\d+|[=!<>]=|[<>+*/%() -]|\b(?:or|and|not)\b)+")
_SYMBOL = re.compile(r"[a-z_]\w*")


class UnsafeProgramError(ValueError):
    """A program file that holds more than prerank writes: opening it could run what somebody else wrote."""


def load_program(path: Path) -> torch.nn.Module:
    """The module of a program file. Raises UnsafeProgramError, before torch opens it, for one that could run code."""
    require_plain_program(path)
    return torch.export.load(path).module()


def require_plain_program(path: Path) -> None:
    """UnsafeProgramError unless the file holds tensors and a graph of ATen operators, and nothing else."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            strange = sorted(name for name in names if not _MEMBERS.fullmatch(name) or names.count(name) > 1)
            if strange or len({name.partition("/")[0] for name in names}) != 1:
                raise _unsafe(path, f"the entry {strange[0]!r}" if strange else "several folders")
            plain = [json.loads(archive.read(name)) for name in names if name.endswith(".json")]
    except (zipfile.BadZipFile, ValueError, KeyError, NotImplementedError, RecursionError) as error:
        raise error if isinstance(error, UnsafeProgramError) else _unsafe(path, f"no archive ({error})") from error
    for key, value in (entry for tree in plain for entry in _entries(tree)):
        if key == "use_pickle" and value is not False:
            raise _unsafe(path, "pickled objects")
        if key == "path_name" and not re.fullmatch(r"(?:weight|tensor)_\d+", str(value)):
            raise _unsafe(path, f"the payload {value!r}")
        if key == "target" and isinstance(value, str) and not _is_target(value):
            raise _unsafe(path, f"a call of {value!r}")
        if key == "guards_code" and not all(_GUARD.fullmatch(str(guard)) for guard in value):
            raise _unsafe(path, "a guard that is more than a comparison of sizes")
        if key in ("name", "forward_arg_names") and not _is_names(value):
            raise _unsafe(path, f"the name {str(value)[:80]!r}")
        if key == "expr_str" and not _is_size(str(value)):
            raise _unsafe(path, f"the expression {str(value)[:80]!r}")


def _is_target(name: str) -> bool:
    # Of a parameter or buffer, the target is its name in the model, which is called nowhere.
    return bool(_TARGETS.fullmatch(name)) or not name.startswith(("torch", "_operator", "operator", "math", "#"))


def _is_names(value: Any) -> bool:
    """Names become variables of generated code."""
    names = value if isinstance(value, list) else [value]
    return all(name is None or (isinstance(name, str) and re.fullmatch(r"[\w.]*", name)) for name in names)


def _is_size(text: str) -> bool:
    """Whether an expression over sizes is arithmetic: sympy would evaluate anything else as well."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return all(isinstance(node, _SIZE_NODES) and _is_harmless(node, id(node) in called) for node in nodes)


def _is_harmless(node: ast.AST, is_called: bool) -> bool:
    if isinstance(node, ast.Name):
        return node.id in _SIZE_FUNCTIONS if is_called else bool(re.fullmatch(r"[a-z]\d+", node.id))
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) or bool(_SYMBOL.fullmatch(str(node.value)))
    return True


def _entries(tree: Any) -> Iterator[tuple[str, Any]]:
    """(key, value) of every mapping in ``tree``."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key, value
            yield from _entries(value)
    elif isinstance(tree, list):
        for item in tree:
            yield from _entries(item)


def _unsafe(path: Path, what: str) -> UnsafeProgramError:
    return UnsafeProgramError(
        f"{path} holds {what}, which prerank export-serving does not write: it is damaged, or somebody else's. It was "
        "not opened; export again"
    )
