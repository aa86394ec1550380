"""Trainable models by name. A new model is one file and one line here."""

from collections.abc import Callable

from etl.contract.errors import UnknownNameError
from models.cold import Cold
from models.config import TrainConfig
from models.contract import Ranker
from models.dat import DualAugmentedTwoTower
from models.features import FeatureSpec
from models.fit import Fit
from models.fscd import Fscd
from models.hit import Hit
from models.interactrank import InteractRank
from models.interactrank_fit import InteractRankFit
from models.inttower import IntTower
from models.ranktower import RankTower
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.two_tower import TwoTower

Constructor = Callable[[FeatureSpec, TrainConfig, CrossScaling, NumericStatistics], Ranker]

MODELS: dict[str, Constructor] = {
    "two_tower": TwoTower,
    "interactrank": InteractRank,
    "fit": Fit,
    "interactrank_fit": InteractRankFit,
    "inttower": IntTower,
    "hit": Hit,
    "dat": DualAugmentedTwoTower,
    "cold": Cold,
    "fscd": Fscd,
    "ranktower": RankTower,
}


def get_model(name: str) -> Constructor:
    """The constructor of a model; UnknownNameError names the nearest."""
    if name not in MODELS:
        raise UnknownNameError("trainable model", name, MODELS)
    return MODELS[name]
