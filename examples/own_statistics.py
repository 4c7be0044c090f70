"""Intervals and tests for answers of your own: python own_statistics.py answers.csv.

Columns of the file: question (rows of one question are not independent), before and after (1 right, 0 wrong).
"""

import sys

import pyarrow.csv as csv

from sycophancy_core import stats

table = csv.read_csv(sys.argv[1])
question = table["question"].to_pylist()
before, after = (table[name].to_numpy() for name in ("before", "after"))

for name, answers in (("before", before), ("after", after)):
    rate = stats.clustered_mean(answers, question, limits=(0, 1))
    print(f"{name:7} {rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}]  ({rate.method})")

change = stats.paired_difference(before, after, question, limits=(0, 1))
print(f"change  {change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}]")
print(f"rose in {change.num_rose} questions, fell in {change.num_fell}")

# "Not significant" does not mean "equal": equivalence within 5 points has a test of its own.
print(f"p (no change)       {stats.p_value(change):.3f}")
print(f"p (equal within .05) {stats.tost(change, margin=0.05):.3f}")
