"""MovieLens ratings as an export, to compare models on. No lake and no Spark: a random split has no days."""
