"""Every effective value of the configuration and the layer that it came from."""

import re

from etl.contract.settings import Loaded, flatten
from scoring.config import PrerankConfig

DEFAULT = "default"
HIDDEN = "********"
_SECRET = re.compile(
    r"secret|password|passwd|token|credential|access[._-]?key|encryption[._-]?key|account[._-]?key|sas|private",
    re.IGNORECASE,
)


def effective_values(loaded: Loaded[PrerankConfig]) -> list[dict[str, object]]:
    """One entry per dotted key: value, origin. Values of keys that name a secret are hidden."""
    entries = []
    for key, value in flatten(loaded.config).items():
        origins = {name: origin for name, origin in loaded.origins.items() if name == key or name.startswith(f"{key}.")}
        if isinstance(value, dict) and value:
            for name, item in value.items():
                whole = f"{key}.{name}"
                origin = origins.get(whole, origins.get(key, DEFAULT))
                entries.append({"key": whole, "value": _shown(whole, item), "origin": origin})
        else:
            entries.append({"key": key, "value": _shown(key, value), "origin": _origin(loaded.origins, key)})
    return entries


def _origin(origins: dict[str, str], key: str) -> str:
    """Of the key, or of the section around it that was set as a whole, as YAML sets a section within a section."""
    while key not in origins and "." in key:
        key = key.rpartition(".")[0]
    return origins.get(key, DEFAULT)


def _shown(key: str, value: object) -> object:
    return HIDDEN if _SECRET.search(key) else value
