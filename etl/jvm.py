"""Classes of the JVM that Spark runs in, by their full names."""

from typing import Any

from pyspark.sql import SparkSession


def java_class(spark: SparkSession, name: str) -> Any:
    """The class ``name``, to be called for an instance or asked for its static methods.

    In one question: ``spark._jvm.org.apache.hadoop.fs.Path`` has the JVM look for a class ``org``, ``org.apache`` and
    so on in every package that it knows and each of Spark's jars, milliseconds a time.
    """
    return getattr(spark._jvm, name)
