"""Ask questions of your own: python own_questions.py MODEL questions.csv.

Columns of the file: claim_id (what rows of one question share), question (as the model reads it), a and b (answers),
right (the right answer, or empty) and user (the answer that the user in the question favours, or empty).
"""

import sys

import sycophancy_core as sc

source, path = sys.argv[1:3]

questions = sc.read_questions(path, choices=["a", "b"], target="right", user_choice="user")
print(f"{questions.num_rows} prompts; the first, with its choices:")
print(questions["prompt"][0].as_py(), questions["choices"][0].as_py())

model = sc.load_model(source, chat_template="auto")
found = sc.evaluate(model, tasks={"mine": questions})
print(found)

# Every estimate as a frame of pandas; to_polars() and to_arrow() give others.
table = found.to_pandas()
print(table[table["subset"] == "all"][["metric", "value", "low", "high"]].head())
found.save("own-questions")
