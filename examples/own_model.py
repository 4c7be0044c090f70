"""Measure a model: python own_model.py MODEL [LIMIT].

MODEL is a folder, a hub id, a GGUF file or a server's address. LIMIT is how many facts are asked.
"""

import sys

import sycophancy_core as sc

source, limit = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60

# "auto": a chat model is asked in the turns of its template, others in plain text.
model = sc.load_model(source, chat_template="auto")
found = sc.evaluate(model, tasks="facts", limit=limit)

print(found)
for metric in ("accuracy, no user", "accuracy, user wrong", "stance effect"):
    one = found.estimate("facts", metric)
    print(f"{metric:22} {one['value']:.2f}  [{one['low']:.2f}, {one['high']:.2f}]")

found.save("own-model")  # tables, and every prompt and answer
print("report:", sc.report(found, "own-model.html"))
