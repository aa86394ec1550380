"""Every effective value of the configuration and the layer that it came from."""

from etl.contract.masking import masked, masked_tree
from etl.contract.settings import Loaded, flatten
from scoring.config import PrerankConfig

DEFAULT = "default"


def effective_values(loaded: Loaded[PrerankConfig]) -> list[dict[str, object]]:
    """One entry per dotted key: value, origin; without secrets (see etl.contract.masking)."""
    entries = []
    for key, value in flatten(loaded.config).items():
        origins = {name: origin for name, origin in loaded.origins.items() if name == key or name.startswith(f"{key}.")}
        if isinstance(value, dict) and value:
            for name, item in value.items():
                whole = f"{key}.{name}"
                origin = origins.get(whole, origins.get(key, DEFAULT))
                entries.append({"key": whole, "value": masked(whole, masked_tree(item)), "origin": origin})
        else:
            entries.append(
                {"key": key, "value": masked(key, masked_tree(value)), "origin": _origin(loaded.origins, key)}
            )
    return entries


def _origin(origins: dict[str, str], key: str) -> str:
    """Of the key, or of the section around it that was set as a whole, as YAML sets a section within a section."""
    while key not in origins and "." in key:
        key = key.rpartition(".")[0]
    return origins.get(key, DEFAULT)
