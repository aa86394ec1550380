"""When things run: Airflow DAGs that only call the prerank program."""
