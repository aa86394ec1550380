"""What the verbs share while the program runs: configuration, progress on stderr, one Spark session."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from etl.contract.settings import Loaded
from scoring.config import PrerankConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from rich.console import Console

    from etl.lake import Lake

T = TypeVar("T")


@dataclass
class Context:
    """Implements what etl.cli.Context and models.cli.Context ask for."""

    loaded: Loaded[PrerankConfig]

    @property
    def config(self) -> PrerankConfig:
        return self.loaded.config

    @cached_property
    def stderr(self) -> "Console":
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    @cached_property
    def spark(self) -> "SparkSession":
        from etl.session import spark_session

        with self.stderr.status("starting Spark"):
            return spark_session(self.config.spark)

    def lake(self) -> "Lake":
        from etl.lake import Lake

        return Lake(self.spark, self.config.lake.root)

    def log(self, message: str) -> None:
        self.stderr.print(message, markup=False, soft_wrap=True)

    def on_executors(self, processes: int, function: Callable[..., Any], *args: Any) -> Any:
        from etl.session import spark_session
        from scoring.distributed import for_training, on_executors

        with self.stderr.status("starting Spark"):
            spark = spark_session(for_training(self.config.spark))
        return on_executors(spark, processes, function, *args)

    def track(self, iterable: Iterable[T], description: str, total: int, /) -> Iterable[T]:
        from rich.progress import track

        return track(iterable, description, total, console=self.stderr, transient=True)
