"""Files of registered model versions: copies at ``{models_root}/versions/{name}/{version}`` that nothing overwrites.

A training directory is replaced by the next training; what has been judged and promoted has to stay what it was.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from etl.contract.publish import published_directory
from etl.contract.settings import digest
from models.errors import ModelError
from models.model_dir import CARD, WEIGHTS, LoadedModel, load, read_card

VERSIONS = "versions"
FILES = (CARD, WEIGHTS)


@dataclass(frozen=True)
class KeptVersion:
    path: Path
    digest: str


def files_digest(directory: Path) -> str | None:
    """A hash of a model's files; None where one is missing."""
    hashes = {}
    for name in FILES:
        if not (directory / name).is_file():
            return None
        with (directory / name).open("rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digest(hashes)


def keep_version(source: Path, models_root: Path, known: str | None) -> KeptVersion:
    """Copy a model directory to its place among the versions, unless it is there.

    ``known`` is the digest that this version was registered with before, if it was: such a copy stays, as equal
    versions score equally even where their cards tell of different exports. Raises ModelError for a source that is
    missing, or that changes while it is copied.
    """
    card, wanted = read_card(source), files_digest(source)
    target = (models_root / VERSIONS / card.name / card.version).absolute()
    present = files_digest(target)
    if present is not None and present in (wanted, known):
        return KeptVersion(target, present)
    if wanted is None:
        raise ModelError(f"{source / WEIGHTS} is missing. Train again.")
    with published_directory(target, CARD, "scaling") as aside:
        for name in FILES:
            shutil.copyfile(source / name, aside / name)
        if files_digest(aside) != wanted:
            raise ModelError(f"{source} was trained anew while it was copied. Run the same command again.")
    return KeptVersion(target, wanted)


def require_version(path: Path, registered: str) -> None:
    """ModelError unless the files at ``path`` are those that were registered with this digest."""
    found = files_digest(path)
    if found != registered:
        state = "incomplete" if found is None else "not those that were registered"
        raise ModelError(f"the files at {path} are {state} (digest {found}, expected {registered}). Put them back.")


def load_version(path: Path, registered: str) -> LoadedModel:
    """Open a registered version; ModelError if its files have changed or are gone."""
    require_version(path, registered)
    return load(path)
