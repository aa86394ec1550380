"""What the verbs share while the program runs: configuration, progress on stderr, one Spark session."""

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from etl.contract.errors import PrerankError
from etl.contract.masking import Masks
from etl.contract.paths import local_part
from etl.contract.printable import message as printable_message
from etl.contract.settings import Loaded, config_hash, to_plain
from scoring.config import PrerankConfig

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from pyspark.sql import SparkSession
    from rich.console import Console

    from etl.lake import Lake

T = TypeVar("T")


@dataclass
class Context:
    """Implements what etl.cli.Context and models.cli.Context ask for."""

    loaded: Loaded[PrerankConfig]
    started_at: "datetime | None" = None
    """When Spark was asked for; None before."""

    @cached_property
    def masks(self) -> Masks:
        """Takes the secrets of configuration and environment out of what is said."""
        return Masks(os.environ, to_plain(self.config))

    @property
    def config(self) -> PrerankConfig:
        return self.loaded.config

    @cached_property
    def stderr(self) -> "Console":
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    @cached_property
    def spark(self) -> "SparkSession":
        from etl.runs import wall_clock
        from etl.session import spark_session

        self.started_at = wall_clock()
        with self.stderr.status("starting Spark"):
            return spark_session(self.config.spark)

    def lake(self, gated: bool = False) -> "Lake":
        from etl.lake import Lake

        if gated and "spark" not in self.__dict__:
            from etl.quality.gate import load_ahead

            load_ahead()
        return Lake(self.spark, self.config.lake.root)

    def explained(self, args: "argparse.Namespace", error: BaseException) -> PrerankError | None:
        """What ``error`` means where storage is broken or of another version (see etl.spark_errors); None otherwise."""
        from etl.spark_errors import explained, is_about_columns

        if isinstance(error, PrerankError):
            return None
        found = explained(error, self._lake_root(), self._places(args))
        if found is None and is_about_columns(error) and "spark" in self.__dict__:
            from etl.lake import of_another_version

            found = of_another_version(self.lake())
        return found

    def _lake_root(self) -> str:
        root = local_part(self.config.lake.root)
        return root if "://" in root else os.path.abspath(os.path.expanduser(root))

    def _places(self, args: "argparse.Namespace") -> dict[str, str]:
        """The local folders that verbs write to, by what a user calls them."""
        score, train = self.config.score, self.config.train
        places = {"lake.root": self._lake_root(), "score.vectors_root": score.vectors_root}
        places |= {"train.models_root": train.models_root, "--out": str(getattr(args, "out", None) or "")}
        spark_local = os.environ.get("SPARK_LOCAL_DIRS") or self.config.spark.conf.get("spark.local.dir")
        places |= {"spark.local.dir": spark_local or tempfile.gettempdir(), "TMPDIR": tempfile.gettempdir()}
        return {name: folder for name, folder in places.items() if folder and "://" not in folder}

    def record_failure(self, args: "argparse.Namespace", error: Exception) -> None:
        """Leave a row in ``runs`` for a job that got as far as Spark; a note on stderr where that fails too."""
        if self.started_at is None or "spark" not in self.__dict__ or getattr(args, "explain", None):
            return
        from etl.operations.failures import JOBS, first_line, record_failure

        if args.verb in JOBS:
            hashed = config_hash(self.config)
            second = record_failure(self.lake(), args, hashed, self.started_at, error, self.masks)
            if second is not None:
                second = self.explained(args, second) or second
                self.log(f"prerank: the failure could not be recorded in 'runs': {first_line(second)}")

    def log(self, message: str) -> None:
        self.stderr.print(printable_message(self.masks(message)), markup=False, soft_wrap=True)

    def on_executors(self, processes: int, function: Callable[..., Any], *args: Any) -> Any:
        from etl.session import spark_session
        from scoring.distributed import for_training, on_executors

        with self.stderr.status("starting Spark"):
            spark = spark_session(for_training(self.config.spark))
        return on_executors(spark, processes, function, *args)

    def track(self, iterable: Iterable[T], description: str, total: int, /) -> Iterable[T]:
        from rich.progress import track

        return track(iterable, description, total, console=self.stderr, transient=True)
