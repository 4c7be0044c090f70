"""Training stops where a number is no longer finite: nothing that is not a number is stepped on, merged or saved."""

from __future__ import annotations

import math
from typing import Any

from sycophancy_core.errors import ModelError

_ADVICE = "lower learning_rate, or set max_grad_norm to clip gradients"


def require_finite_step(loss: float, norm: float, step: int) -> None:
    """Refuse to go on from a loss or a gradient that is not finite.

    Parameters
    ----------
    norm
        Of the gradients, over all parameters.
    step
        The step in hand, from 1 on; its update is not made.

    Raises
    ------
    ModelError
        If one is infinite or no number.
    """
    for what, value in (("loss", loss), ("norm of the gradients", norm)):
        if not math.isfinite(value):
            raise ModelError(f"finetune: the {what} of step {step} is {value}, wanted a finite number; {_ADVICE}")


def require_finite_weights(module: Any, step: int) -> None:
    """Refuse trained weights that are not finite.

    Raises
    ------
    ModelError
        Naming the first of them.
    """
    from sycophancy_core.training.adapters.low_rank import trainable_parameters

    for name, parameter in trainable_parameters(module):
        if not parameter.isfinite().all():
            raise ModelError(f"finetune: after step {step}, {name} has numbers that are not finite; {_ADVICE}")
