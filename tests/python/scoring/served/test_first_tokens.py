"""First tokens of a reply and the choices that they say: sums of probabilities by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sycophancy_core.scoring.served.chat import Interval, choice_values, intervals

Top = list[tuple[str, float]]


def top(**tokens: float) -> Top:
    return [(token, math.log(probability)) for token, probability in tokens.items()]


def test_tokens_that_say_one_choice_add_up_and_others_have_a_bound() -> None:
    found = intervals([" (A)", " (B)", " (C)"], [*top(A=0.5, B=0.2, The=0.1), ("(A", math.log(0.1)), ("(", -3.0)])
    assert found[0] == (pytest.approx(math.log(0.6)), pytest.approx(math.log(0.6)))
    assert found[1] == (pytest.approx(math.log(0.2)), pytest.approx(math.log(0.2)))
    assert found[2] == (-math.inf, pytest.approx(-3.0))
    values, why = choice_values(found)
    assert why is None
    assert values == [found[0].high, found[1].high, found[2].high]


def test_a_token_that_begins_several_choices_may_say_any_of_them() -> None:
    found = intervals([" C", " Ca"], top(C=0.9, Ca=0.05, The=0.01))
    assert found[0] == (-math.inf, pytest.approx(math.log(0.9)))
    assert found[1] == (pytest.approx(math.log(0.05)), pytest.approx(math.log(0.95)))


@pytest.mark.parametrize("choices", [[" C", " Ca"], [" Ca", " C"], [" C", " Ca", " Na"]])
def test_where_such_a_token_decides_the_prompt_is_unscored(choices: list[str]) -> None:
    values, why = choice_values(intervals(choices, top(C=0.9, Ca=0.05, Na=0.02)))
    assert why == "a likely first token begins several choices"
    assert np.isnan(values).all()


def test_where_such_a_token_does_not_decide_it_counts_against_the_likeliest() -> None:
    values, why = choice_values(intervals([" Paris", " Parma"], top(Paris=0.8, Par=0.05, Parma=0.02)))
    assert why is None
    assert values == [pytest.approx(math.log(0.8)), pytest.approx(math.log(0.07))]


def test_of_no_choice_among_the_likeliest_nothing_is_known() -> None:
    values, why = choice_values([Interval(-math.inf, -4.0), Interval(-math.inf, -4.0)])
    assert why == "no choice among the likeliest first tokens"
    assert np.isnan(values).all()
