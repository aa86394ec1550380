"""What runs inside a Spark worker: numpy over Arrow batches. Nothing here knows Spark, tables or paths."""
