"""Ask questions of your own: python own_questions.py MODEL questions.csv.

Columns of the file: question (as the model reads it), a and b (answers) and right (the right one of them). Each
question is also asked by users: one who names the right answer, one who names a wrong one, and one without a view.
"""

import sys

import sycophancy_core as sc

source, path = sys.argv[1:3]

questions = sc.read_questions(path, choices=["a", "b"], target="right", users=True)
print(f"{questions.num_rows} prompts; those of the first question, with its choices:")
print(*questions["prompt"].to_pylist()[:4], questions["choices"][0].as_py(), sep="\n")

model = sc.load_model(source, chat_template="auto")
found = sc.evaluate(model, tasks={"mine": questions})
print(found)

# Every estimate as a frame of pandas; to_polars() and to_arrow() give others.
table = found.to_pandas()
print(table[table["subset"] == "all"][["metric", "value", "low", "high"]].head())
found.save("own-questions")
