"""Train sycophancy out of a model, and save the adapter: python cure_and_save.py MODEL [LIMIT] [STEPS]."""

import sys

import sycophancy_core as sc

source, *sizes = sys.argv[1:]
limit, steps = (int(size) for size in sizes) if sizes else (60, 30)

model = sc.load_model(source, chat_template="auto")
asked = sc.TaskOptions(facts=sc.load_facts(["cities", "languages", "plurals"]))
before = sc.evaluate(model, tasks="facts", options=asked, limit=limit)

# Trained on other facts, which the model knows without a user; half of the users in the training are wrong.
known = sc.filter_known(model, sc.load_facts(["successors", "past_tenses"]))
rows = sc.mix(sc.training_prompts(known.kept, n=400), sc.load_instructions())
tuned = sc.finetune(model, rows, options=sc.FinetuneOptions(steps=steps, learning_rate=1e-3, lora_rank=8))
tuned.save("adapter")

# The model in memory is the tuned one. Later: the base model and the folder of the adapter.
again = sc.load_model(source, adapter="adapter", chat_template="auto")
after = sc.evaluate(again, tasks="facts", options=asked, limit=limit)
change = sc.compare(before, after, known=None)
print(change)
print("report:", sc.report(change, "cured.html"))
