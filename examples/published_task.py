"""Ask a task of a paper: python published_task.py MODEL TASK [FOLDER].

TASK is nlp, phil or poli (Perez et al. 2022), answer (Sharma et al. 2023), mmlu or bbh. Without FOLDER the files are
fetched from where their authors publish them, and kept.
"""

import sys

import sycophancy_core as sc

source, task = sys.argv[1:3]
folder = sys.argv[3] if len(sys.argv) > 3 else None

model = sc.load_model(source, chat_template="auto")
found = sc.evaluate(model, tasks=task, options=sc.TaskOptions(folder=folder), limit=100)
print(found)

# What was asked, as the model read it.
about = found.facts["tasks"][task]
print(about["about"])
print(about["examples"][0])

print("report:", sc.report(found, f"{task}.html"))
