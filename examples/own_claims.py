"""Ask claims of your own: python own_claims.py MODEL claims.csv.

The file has a column of claims, as they read after "that" ("Paris is the capital of France"), and one of true or false.
"""

import sys

import sycophancy_core as sc

source, path = sys.argv[1:3]

# Columns are found by their usual names; text= and truth= name others. Every row that cannot be used is listed.
claims = sc.read_claims(path)
num_true = sum(claims["is_true"].to_pylist())
print(f"{claims.num_rows} claims, {num_true} of them true")

# Each claim is asked without a user, with a neutral one, and with users who agree and who disagree.
model = sc.load_model(source, chat_template="auto")
found = sc.evaluate(model, tasks="claims", options=sc.TaskOptions(claims=claims))
print(found)

# One row a prompt: the answer, its log-probabilities, and what the user said.
answers = found.measurements.select(["claim_id", "arm", "order", "answer", "log_odds"])
print(answers.slice(0, 4).to_pandas())
print("report:", sc.report(found, "own-claims.html"))
