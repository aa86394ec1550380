"""Logs to tables to training data: Spark, Delta and Great Expectations."""
