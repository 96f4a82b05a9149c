import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.errors import InputError
from pix2spec.products.selection import parse_selection, select

SCORES = np.array([0.1, 0.9, -0.3, 0.5])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("single", [0]), ("best", [1]), ("mean:2", [1, 3]), ("mean:4", [1, 3, 0, 2]), ("all", [0, 1, 2, 3])],
)
def test_selection_rules(rule, expected):
    assert select(rule, 4, SCORES).tolist() == expected


@pytest.mark.parametrize("rule", ["bets", "mean", "mean:0", "mean:-1", "mean:x", ""])
def test_unknown_rules_are_refused(rule):
    with pytest.raises(InputError, match="single, best, mean:M"):
        parse_selection(rule)


def test_scores_are_needed_to_choose():
    assert select("single", 3, None).tolist() == [0]
    assert select("all", 3, None).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="contrastive network"):
        select("best", 3, None)
    with pytest.raises(InputError, match="there are 4"):
        select("mean:5", 4, SCORES)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.data())
def test_the_mean_of_m_keeps_the_m_best(scores, data):
    scores = np.array(scores)
    m = data.draw(st.integers(1, len(scores)))
    kept = select(f"mean:{m}", len(scores), scores)
    assert len(set(kept.tolist())) == m
    assert scores[kept].min() >= max(np.delete(scores, kept), default=-2)
