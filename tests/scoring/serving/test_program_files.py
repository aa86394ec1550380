"""Program files that would run code when torch opens them are refused before it does."""

import json
import pickle
import zipfile

import pytest
import torch
from torch import nn
from torch.export import Dim

from scoring.serving.program_files import UnsafeProgramError, load_program, require_plain_program

RAN = []


class Ran:
    def __reduce__(self):
        return RAN.append, ("pickle",)


class Doubled(nn.Module):
    def forward(self, x):
        return x.repeat_interleave(2, 0)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("programs") / "good.pt2"
    program = torch.export.export(Doubled(), (torch.ones(3, 2),), dynamic_shapes=({0: Dim("n")},))
    torch.export.save(program, path)
    return path


def changed(good, path, change, extra=()):
    """A copy of a program whose graph went through ``change``, with ``extra`` entries."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("models/model.json"):
                content = change(content.decode()).encode()
            target.writestr(name, content)
        for name, content in extra:
            target.writestr(name, content)
    return path


def test_what_torch_saves_is_opened(good):
    assert load_program(good)(torch.ones(5, 2)).shape == (10, 2)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("torch.ops.aten.repeat_interleave.self_int", "torch.os.system", "a call of 'torch.os.system'"),
        ("torch.ops.aten.repeat_interleave.self_int", "torch.ops.aten.from_file.default", "from_file"),
        ("torch.ops.aten.repeat_interleave.self_int", "torch.ops.mine.run.default", "ops.mine"),
        ('"guards_code": []', '"guards_code": ["L[\'x\'].size()[0] == RAN.append(1)"]', "a guard that is more"),
        ('"guards_code": []', '"guards_code": ["RAN.append(1)"]', "a guard that is more"),
        ("Integer(2)", "__import__('os').getpid()", "the expression"),
        ("Integer(2)", "sympify('1')", "the expression"),
        ("Integer(2)", "(lambda: 2)()", "the expression"),
        ("Integer(2)", "Symbol('x; y')", "the expression"),
        ('"name": "x"', '"name": "x): RAN.append(1)  #"', "the name"),
    ],
)
def test_a_graph_that_names_code_is_refused(good, tmp_path, old, new, complaint):
    def change(text):
        assert old in text
        return text.replace(old, new)

    path = changed(good, tmp_path / "bad.pt2", change)
    with pytest.raises(UnsafeProgramError, match="It was not opened") as caught:
        load_program(path)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "good/data/constants/opaque_obj_0", "good/data/constants/custom_obj_0", "good/data/weights/model.pt",
        "good/data/aotinductor/model/wrapper.so", "../evil", "good/models/other.json",
    ],
)  # fmt: skip
def test_entries_that_are_pickles_libraries_or_elsewhere_are_refused(good, tmp_path, name):
    extra = [(name, pickle.dumps(Ran()))]
    with pytest.raises(UnsafeProgramError):
        load_program(changed(good, tmp_path / "bad.pt2", str, extra))
    assert RAN == []


def test_a_weight_that_calls_itself_a_pickle_is_refused(good, tmp_path):
    config = {"config": {"w": {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}}}
    path = tmp_path / "bad.pt2"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("good/data/weights/model_weights_config.json", json.dumps(config))
        target.writestr("good/data/weights/weight_0", pickle.dumps(Ran()))
    with pytest.raises(UnsafeProgramError, match="pickled objects"):
        load_program(path)
    assert RAN == []


@pytest.mark.parametrize("content", [b"", b"PK", pickle.dumps(Ran()), b'{"a": 1}'])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "bad.pt2").write_bytes(content)
    with pytest.raises(UnsafeProgramError, match="no archive"):
        require_plain_program(tmp_path / "bad.pt2")
