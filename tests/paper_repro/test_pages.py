"""What reports and figures say first, and what figures say in themselves."""

import numpy as np
import pytest

from experiments.onsets import ensemble
from experiments.store import Measurement
from experiments.words import interval_text
from figures import style
from figures.markdown import commits
from figures.report import claims_as_text, exceptions, verdicts_in_words

VERDICTS = ("shown", "not shown", "too few training sets", "contradicted", "shown")
CLAIMS = [
    {"verdict": verdict, "estimate": 1.0, "low": 0.5, "high": None, "figure": "4a"}
    | {"statement": f"claim {number}"}
    for number, verdict in enumerate(VERDICTS)
]


def test_counts_come_first_then_what_was_not_shown():
    assert verdicts_in_words(CLAIMS).startswith("5 claims: 2 shown, ")
    found = [claim["statement"] for claim in exceptions(CLAIMS)]
    assert found == ["claim 3", "claim 1"]
    head, _, *lines = claims_as_text(CLAIMS).splitlines()
    assert head == verdicts_in_words(CLAIMS)
    assert [line[-1] for line in lines] == ["3", "1", "0", "2", "4"]
    assert "[4a] claim 3" in lines[0]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((1.234, 0.5, 2.0), "1.23 [0.5, 2]"),
        ((1.234, None, 2.0), "1.23"),
        ((1.234, np.nan, np.nan), "1.23"),
        ((np.inf, None, None), "none"),
        ((None, None, None), ""),
    ],
)
def test_intervals_in_words(numbers, text):
    assert interval_text(*numbers) == text


def onsets(bias: bool, test: bool):
    """Minima at epochs 10 and 100 of two networks on two training sets each, located or not."""
    found = {}
    for name, epoch, located in (("tau_neighbour", 10.0, bias), ("tau_test", 100.0, test)):
        found[name] = Measurement(np.full(4, epoch), ("member",), "epochs", "")
        found[f"{name}_located"] = Measurement(np.full(4, located), ("member",), "", "")
    return {"onsets": found, "ensemble": ensemble(2, 2)}


@pytest.mark.parametrize(
    ("located", "written", "patches"),
    [
        ((True, True), ["biased phase "], 1),
        ((True, False), ["biased phase … "], style.FADING),
        ((False, True), [], 0),
    ],
)
def test_shading_says_what_it_is_and_fades_where_its_end_is_unknown(located, written, patches):
    _, (axis,) = style.new_figure(1, 2.0)
    style.shade_biased_phase(axis, onsets(*located))
    assert [text.get_text() for text in axis.texts] == written
    assert len(axis.patches) == patches
    opacity = [patch.get_alpha() for patch in axis.patches]
    assert opacity == sorted(opacity, reverse=True)


def test_a_legend_has_every_label_once():
    figure, axes = style.new_figure(2, 2.0)
    for axis in axes:
        axis.plot([1, 2], label="train")
    axes[1].plot([2, 1], label="test")
    style.legend_below(figure, axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["train", "test"]


def test_pages_say_which_commits_made_the_runs():
    made = ("b" * 40, "a" * 40 + "+changes", "b" * 40, "unknown")
    runs = {str(place): {"provenance": {"commit": own}} for place, own in enumerate(made)}
    found = commits(runs | {"old": {"provenance": {}}})
    assert found == {"b" * 12: ["0", "2"], "a" * 12 + "+changes": ["1"], "": ["3", "old"]}


def test_settings_stand_in_words():
    assert style.plain("training.learning_rate = 0.1") == "learning rate = 0.1"
    assert style.plain("weight decay 0.1") == "weight decay 0.1"
    assert style.symbols("early stop at τ_bias") == r"early stop at $\tau_\mathrm{bias}$"
