"""That no verb is forgotten."""

import argparse

from scoring.main import build_parser
from tests.kills.verbs import KILLED

#: ``check`` writes pages about what it found, which every run of it replaces.
READ_ONLY = {"plan", "check", "runs", "lineage", "models", "show-config"}
#: The demo is a sequence of the others; movielens and package publish a folder as export does, without a lake.
SEQUENCES = {"demo", "movielens", "package"}


def test_every_verb_that_writes_is_killed():
    [verbs] = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    assert {verb.line.split()[0] for verb in KILLED} == set(verbs.choices) - READ_ONLY - SEQUENCES
