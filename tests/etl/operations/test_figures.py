"""Tiers, limits and Prometheus text, each against plain Python."""

import random
import re

import pytest

from etl.contract.errors import UsageError
from etl.contract.settings import load
from etl.operations.config import Limit, MonitorConfig
from etl.operations.figures import Figure, QueryGroup, broken, tier_shares, unmeasured
from etl.operations.prometheus import prometheus_text
from etl.operations.text import figure_rows
from scoring.config import PrerankConfig

DS, NEXT = "2024-02-29", "2024-03-01"


def reference_shares(queries: list[tuple[int, bool]]) -> dict[str, float]:
    """Queries (shown, known) one by one, the most shown first; equal ones go where the first of them goes."""
    total, before, of_tier, tier_of = sum(shown for shown, _ in queries), 0, {}, {}
    for shown, known in sorted(queries, key=lambda query: -query[0]):
        tier = tier_of.setdefault(shown, ("head", "torso", "tail")[min(before * 3 // total, 2)])
        of_tier.setdefault(tier, []).append(known)
        before += shown
    return {tier: sum(found) / len(found) for tier, found in of_tier.items()}


def test_tiers_hold_a_third_of_the_impressions_each():
    draw = random.Random(3)
    for _ in range(100):
        queries = [(draw.choice((1, 2, 3, 10, 40)), draw.random() < 0.6) for _ in range(draw.randrange(1, 30))]
        sizes = {shown for shown, _ in queries}
        groups = [
            QueryGroup(size, sum(q[0] == size for q in queries), sum(q == (size, True) for q in queries))
            for size in sizes
        ]
        assert tier_shares(groups) == reference_shares(queries)
    assert tier_shares([]) == {}


FIGURES = [
    Figure(DS, "rows", "events", 0.0),
    Figure(DS, "psi", "all__click_rate_7d", 0.1),
    Figure(DS, "psi", "all__users_7d", 0.9),
    Figure(NEXT, "psi", "all__users_7d", 0.3),
    Figure(DS, "coverage", "head", 0.5),
]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            {"psi": Limit(max=0.25)},
            "psi.all__users_7d of 2024-02-29 is 0.9, psi.all__users_7d of 2024-03-01 is 0.3; at most 0.25 is allowed",
        ),
        ({"psi.all__click_rate_7d": Limit(max=0.1)}, None),
        ({"rows.events": Limit(min=1)}, "rows.events of 2024-02-29 is 0; at least 1 is allowed"),
        (
            {"coverage": Limit(min=0.2, max=0.4)},
            "coverage.head of 2024-02-29 is 0.5; at least 0.2 and at most 0.4 is allowed",
        ),
        ({"rows.scores": Limit(min=1)}, None),
    ],
)
def test_limits_name_what_breaks_them_the_worst_first(limits, said):
    assert broken(FIGURES, limits) == ([said] if said else [])


def test_a_limit_without_a_figure_is_told():
    assert unmeasured(FIGURES, [DS, NEXT], ["psi", "rows.scores", "coverage"]) == [
        "rows.scores could not be measured on 2024-02-29, 2024-03-01",
        "coverage could not be measured on 2024-03-01",
    ]


def test_limits_are_set_by_file_and_by_command_line(tmp_path):
    (tmp_path / "p.yaml").write_text("monitor:\n  gates: {coverage.impressions: {min: 0.3}}\n")
    config = load(PrerankConfig, tmp_path / "p.yaml", {}, ["monitor.warnings.psi={max: 0.1}"]).config.monitor
    assert config.gates == {"coverage.impressions": Limit(min=0.3)}
    assert config.warnings == {"psi": Limit(max=0.1)}
    assert MonitorConfig().gates == {}


@pytest.mark.parametrize("text", ["{}", "{min: 2, max: 1}", "{max: .nan}", "{most: 1}", "3"])
def test_a_limit_that_means_nothing_is_refused(text):
    with pytest.raises(UsageError, match="monitor"):
        load(PrerankConfig, None, {}, [f"monitor.gates.psi={text}"])


def test_an_unknown_figure_is_refused():
    with pytest.raises(UsageError, match="nothing is monitored as 'recall'"):
        load(PrerankConfig, None, {}, ["monitor.gates.recall={min: 1}"])


def test_prometheus_text_is_of_the_newest_day_and_escapes_labels():
    text = prometheus_text([*FIGURES, Figure(NEXT, "rows", 'a"b\\c\nd', 3.0), Figure(NEXT, "reject_share", "", 1e-7)])
    assert text.endswith("\n")
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = re.fullmatch(r'(\w+(?:\{part="(?:[^"\\]|\\.)*"\})?) (\S+)', line).groups()
            samples[name] = float(value)
    assert samples == {
        "prerank_monitored_day_seconds": 1709251200.0,
        'prerank_rows{part="a\\"b\\\\c\\nd"}': 3.0,
        "prerank_reject_share": 1e-7,
        'prerank_psi{part="all__users_7d"}': 0.3,
    }
    helped = re.findall(r"# HELP (\w+) ", text)
    assert (
        helped == re.findall(r"# TYPE (\w+) gauge", text) == list(dict.fromkeys(name.split("{")[0] for name in samples))
    )
    assert prometheus_text([]) == ""


def test_a_terminal_shows_the_largest_psi_of_a_day():
    rows = figure_rows([vars(figure) for figure in FIGURES])
    assert rows[0] == {"ds": DS, "rows.events": 0.0, "largest psi": 0.9, "of": "all__users_7d", "coverage.head": 0.5}
    assert rows[1] == {"ds": NEXT, "largest psi": 0.3, "of": "all__users_7d"}
