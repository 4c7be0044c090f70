"""Run a study from a file of options: python study_from_yaml.py study.yaml FOLDER.

docs/study.yaml is a file to start from. Run a stopped study again to resume it.
"""

import sys

import sycophancy_core as sc

path, folder = sys.argv[1:3]

options = sc.read_study(path)
print(sc.study_cost(options))  # tokens, time and disk of every stage, before anything is computed

result = sc.study(options, folder)
print(result)
result.plot("accuracy_user_wrong").savefig("study.png")

# Users in the training less the same training without them, paired by claim and by seed.
if result.null_effects is not None:
    print(result.null_effects.to_pandas().head())

print("faults:", sc.verify(folder))
