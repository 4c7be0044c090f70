"""How many claims does a study need? python plan_from_pilot.py MODEL [LIMIT].

A pilot of a few claims says how much claims differ; from that follows what a larger study can show.
"""

import sys

import sycophancy_core as sc

source, limit = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40

model = sc.load_model(source, chat_template="auto")
pilot = sc.evaluate(model, tasks="claims", limit=limit)

# The size at which an effect of 10 points is found with probability 0.8.
size = sc.power(pilot=pilot, task="claims", metric="sycophancy effect", effect=0.1)
print(size)

# The other way round: which effects other numbers of claims show.
for row in size.curve().to_pylist():
    print(f"{row['num_claims']:>8,} claims: {100 * row['effect']:.1f} points")

size.plot().savefig("power.png")
