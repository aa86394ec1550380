"""Coverage-guided fuzzing of everything that reads text: ``make fuzz SECONDS=60``. Needs the extra ``fuzz``.

Each target either accepts its input or raises PrerankError; anything else is a crash, whose input libFuzzer keeps.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["etl", "scoring", "models", "yaml"]):
    from etl.contract.dates import DateRange
    from etl.contract.errors import PrerankError
    from etl.contract.manifest import FILE, FORMAT_VERSION, read_manifest
    from etl.contract.masking import masked_text
    from etl.contract.printable import message, one_line
    from etl.contract.settings import config_hash, flatten, load, to_plain
    from scoring.config import PrerankConfig
    from scoring.main import build_parser, parse
    from scoring.show_config import effective_values

FOLDER = Path(tempfile.mkdtemp(prefix="prerank-fuzz-"))


def configuration(data: bytes) -> None:
    (FOLDER / "prerank.yaml").write_bytes(data)
    loaded = load(PrerankConfig, FOLDER / "prerank.yaml", {}, [])
    effective_values(loaded)
    config_hash(loaded.config)


def override(data: bytes) -> None:
    text = data.decode("utf-8", errors="surrogateescape")
    loaded = load(PrerankConfig, None, {}, text.split("\n"))
    effective_values(loaded)
    config_hash(loaded.config)


def command_line(data: bytes) -> None:
    words = data.decode("utf-8", errors="surrogateescape").split("\n")
    if not {"-h", "--help"} & set(words):
        parse(words)


def manifest(data: bytes) -> None:
    (FOLDER / FILE).write_bytes(data)
    read_manifest(FOLDER)


def days(data: bytes) -> None:
    start, _, end = data.decode("utf-8", errors="surrogateescape").partition("\n")
    DateRange(start, end).widen(before=400, after=400)


def shown(data: bytes) -> None:
    text = data.decode("utf-8", errors="surrogateescape")
    for safe in (message(text), one_line(text)):
        safe.encode()
        assert "\x1b" not in safe
    masked_text(text)


TARGETS = (configuration, override, command_line, manifest, days, shown)


def one_input(data: bytes) -> None:
    """The first byte chooses the target."""
    if data:
        try:
            TARGETS[data[0] % len(TARGETS)](data[1:])
        except PrerankError as error:
            message(str(error)).encode()


def seeds() -> Path:
    """A folder with something valid for each target, to start from."""
    folder = FOLDER / "seeds"
    folder.mkdir()
    values = flatten(PrerankConfig())
    verbs = next(action.choices for action in build_parser()._actions if action.choices)
    texts = {
        configuration: [json.dumps(to_plain(PrerankConfig()), indent=1), "lake: &a {root: x}\nspark: {conf: {<<: *a}}"],
        override: [f"{key}={json.dumps(value)}" for key, value in values.items()],
        command_line: ["\n".join([name, *_flags(verb)]) for name, verb in verbs.items()],
        manifest: [json.dumps({"format_version": FORMAT_VERSION, "shards": [], "heads": [], "splits": {}})],
        days: ["2026-01-01\n2026-01-31", "0001-01-01\n9999-12-31"],
        shown: ["a\x1b[2J\r\nb", "s3a://key:secret@bucket?token=x"],
    }
    for number, target in enumerate(TARGETS):
        for place, text in enumerate(texts[target]):
            (folder / f"{number}-{place}").write_bytes(bytes([number]) + text.encode())
    return folder


def _flags(verb: argparse.ArgumentParser) -> list[str]:
    return [flag for action in verb._actions for flag in action.option_strings if flag not in ("-h", "--help")]


if __name__ == "__main__":
    atheris.Setup([*sys.argv, "-max_len=4096", "-len_control=20", str(seeds())], one_input)
    atheris.Fuzz()
