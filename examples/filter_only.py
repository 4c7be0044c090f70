"""Keep the claims that a model knows: python filter_only.py MODEL claims.csv known.csv.

A claim is known if the model judges it rightly when nobody speaks, in wordings that the evaluation does not use.
"""

import sys

import sycophancy_core as sc

source, path, out = sys.argv[1:4]

model = sc.load_model(source, chat_template="auto")
claims = sc.read_claims(path)
found = sc.filter_known(model, claims)

# How many were kept, how often the model is right about true and about false claims, and why others were dropped.
print(found)
for row in found.table.slice(0, 5).to_pylist():
    print(f"{row['status']:9} margin {row['margin']:+.2f}  {row['text']}")

found.kept.to_pandas()[["text", "is_true"]].to_csv(out, index=False)
print(f"{found.kept.num_rows} of {claims.num_rows} claims in {out}")
