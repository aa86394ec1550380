"""The small lake of etl's tests, for tests that score its days."""

from tests.etl.conftest import built

__all__ = ["built"]
