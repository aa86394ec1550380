import pytest
from pyspark.sql import functions as F

from etl.jvm import java_class


@pytest.mark.spark
def test_a_class_is_found_by_its_full_name(spark):
    assert java_class(spark, "java.lang.Integer").parseInt("7") == 7
    assert str(java_class(spark, "org.apache.hadoop.fs.Path")("/lake").getName()) == "lake"


@pytest.mark.spark
def test_columns_have_no_class_looked_for_in_every_jar(spark, monkeypatch):
    def asked(view, name):
        searched.append(name)
        return search(view, name)

    searched: list[str] = []
    search = type(spark._jvm).__getattr__
    monkeypatch.setattr(type(spark._jvm), "__getattr__", asked)
    rows = spark.range(2).select("id", F.array(F.lit(1), F.col("id") + 1).alias("both")).collect()
    assert [row.both for row in rows] == [[1, 1], [1, 2]]
    # By its full name a class is found at once.
    assert [name for name in searched if "." not in name] == []
