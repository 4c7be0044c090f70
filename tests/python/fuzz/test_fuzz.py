"""No input of any kind ends in a crash, a hang or a traceback: a short run; `make fuzz` is a long one."""

from collections import Counter
from typing import Any

import pytest
from fuzz import bindings, planted
from fuzz.__main__ import summary
from fuzz.calls import Call
from fuzz.runner import run_targets
from fuzz.targets import TARGETS

from sycophancy_core import _core
from sycophancy_core.scoring.native_scorer import load_engine

ROUNDS = 0.02
SEED = 20260101


def test_planted_faults_are_found_and_the_run_goes_on() -> None:
    found = run_targets(planted.TARGETS, 1, SEED, module="fuzz.planted")
    assert (found["accept"].accepted, found["refuse"].refused) == (2, 2)
    assert {name: tally.faults for name, tally in found.items() if tally.faults} == {
        "key error": Counter({"KeyError at no file of the package": 2}),
        "memory": Counter({"MemoryError at no file of the package": 2}),
        "wait": Counter({"HANG": 2}),
        "work": Counter({"HANG": 2}),
        "crash": Counter({"CRASH by signal 11": 2}),
    }


def functions_of(call: Call) -> set[Any]:
    inside = [functions_of(value) for value in call.arguments.values() if isinstance(value, Call)]
    return {call.function}.union(*inside)


def test_every_function_and_class_of_the_bindings_is_fuzzed() -> None:
    calls = {**bindings.statistics(), **bindings.texts_and_tables()}
    fuzzed = set().union(*map(functions_of, calls.values()))
    made = {name for name, value in vars(_core).items() if isinstance(value, type) and not issubclass(value, Exception)}
    engines = {"PanelEngine", "PanelEncoderDecoderEngine"}  # under names of their own
    results = {"Estimate", "LogitFit", "MetricChange", "MetricEstimate", "Plan", "RiskPoint", "Table", "TableStream"}
    functions = {name for name, value in vars(_core).items() if callable(value) and name not in made}
    functions -= {"DataError", "ModelError"}
    missing = {
        name
        for name in functions | made - results - engines - {"ThresholdChoice"}
        if getattr(_core, name) not in fuzzed
    }
    assert missing == set()
    assert {name for name, value in vars(load_engine()).items() if isinstance(value, type)} == {"TensorEngine"}


@pytest.mark.slow
def test_no_input_ends_in_a_crash_a_hang_or_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_targets(TARGETS, ROUNDS, SEED)
    assert {name: (tally.faults, tally.first) for name, tally in found.items() if tally.faults} == {}
    with capsys.disabled():
        print("\n" + summary(found, SEED, 0).splitlines()[-1])
