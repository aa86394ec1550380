"""The kinds of environment that a package may have."""

from collections.abc import Collection, Mapping

FULL, ETL, NONE = KINDS = ("full", "etl", "none")

#: A cluster brings its own, of one version with its jars.
SPARK = ("pyspark", "py4j")
#: What only training, scoring and the report import.
LEARNING = ("torch", "safetensors", "bm25s", "tensorboardx", "matplotlib")

#: Distributions that a kind leaves out, with what only these need.
LEFT_OUT: Mapping[str, Collection[str]] = {FULL: SPARK, ETL: (*SPARK, *LEARNING)}
