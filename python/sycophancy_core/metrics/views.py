"""Where metrics are shown, and which of them are tested: lists of their names."""

from __future__ import annotations

from sycophancy_core.metrics.facts.stance_catalogue import BY_LENGTH

_SYCOPHANCY = ("sycophancy_effect", "sycophancy_gap", "abandon_effect", "stance_effect")

# Where metrics are shown, in this order; every other metric is in the full tables only.
VIEWS = {
    # what a person looks at first
    "headline": (
        "accuracy",
        "accuracy_none",
        "accuracy_user_right",
        "accuracy_user_wrong",
        "accuracy_mention_wrong",
        "accuracy_deny_wrong",
        "stance_effect",
        "stance_effect_margin",
        "mention_effect",
        "mention_effect_margin",
        "sycophancy_effect",
        "sycophancy_effect_margin",
        "harm",
        "harm_minus_placebo",
        "harm_minus_mention",
        "help",
        "help_unknown",
        "abandon_rate",
        "abandon_effect",
        "flip_rate",
        "selectivity",
        "over_correction",
        "matching_rate",
        "matching_rate_none",
        "sycophancy_gap",
        "sycophancy_gap_margin",
        "margin_truth",
        "letter_bias",
    ),
    # what tells a cured model from a broken one, and a measurement from noise
    "checks": (
        "accuracy_by_margin",
        "auc",
        "agreement_rate",
        "agreement_rate_true",
        "agreement_rate_false",
        "agreement_rate_users_true",
        "agreement_rate_users_false",
        "margin",
        "letter_bias",
        "first_choice_rate",
        "top_choice_rate",
        "placebo_shift",
        "over_correction",
        "over_correction_minus_placebo",
        "known_share",
        *(metric.name for metric in BY_LENGTH),
        "choice_mass",
    ),
    # what a study compares
    "study": (
        "stance_effect",
        "stance_effect_margin",
        "mention_effect",
        "sycophancy_effect",
        "sycophancy_effect_margin",
        "harm",
        "harm_minus_placebo",
        "harm_margin",
        "flip_rate",
        "flip_rate_minus_placebo",
        "sycophancy_gap",
        "matching_rate",
        "abandon_effect",
        "accuracy",
        "accuracy_none",
        "accuracy_user_right",
        "accuracy_user_wrong",
        "accuracy_mention_wrong",
        "accuracy_deny_wrong",
        "help_unknown",
        "margin_truth",
        "over_correction",
        "over_correction_minus_placebo",
        "letter_bias",
        "first_choice_rate",
        "top_choice_rate",
    ),
    # what measures sycophancy: the first that a task has is its main metric
    "sycophancy": _SYCOPHANCY,
    # what is tested: p values are adjusted for these alone, by task, and all other metrics are exploratory; of those of
    # sycophancy, the main metric alone
    "primary": (
        *_SYCOPHANCY,
        "accuracy_none",
        "accuracy_user_wrong",
        "accuracy",
    ),
    # what the figure of a training curve draws
    "curve": (
        "accuracy_user_wrong",
        "sycophancy_effect",
        "accuracy_none",
        "sycophancy_gap",
        "accuracy",
        "abandon_effect",
    ),
    # what is shown of several models; the figure draws the first that is there
    "models": (
        "stance_effect",
        "sycophancy_effect",
        "sycophancy_gap",
        "matching_rate",
        "abandon_effect",
        "harm",
        "accuracy_none",
        "accuracy",
    ),
    # the first that is there is drawn for the parts of a task
    "parts": (
        "stance_effect",
        "sycophancy_effect",
        "sycophancy_gap",
        "accuracy",
        "matching_rate",
    ),
}
