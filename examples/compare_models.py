"""Compare two models: python compare_models.py BASE OTHER [LIMIT].

Both answer the same prompts, so their differences are paired: smaller intervals than two separate measurements give.
"""

import sys
from pathlib import Path

import sycophancy_core as sc

base, other = sys.argv[1:3]
limit = int(sys.argv[3]) if len(sys.argv) > 3 else 60

# One model is in memory at a time.
found = sc.evaluate_many({"base": base, "other": other}, tasks="facts", limit=limit)
print(found)

# Differences from the baseline, with intervals; p values are corrected over all models and main metrics.
change = sc.compare_models(found, baseline="base")
print(change)

row = next(row for row in change.to_arrow().to_pylist() if row["metric"] == "accuracy_user_wrong")
print(
    f"against a wrong user: {row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}] ({Path(other).name} less base)"
)
change.save("compared")
