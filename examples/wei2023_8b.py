"""Train all weights of a model of 8 billion at the published size, on one node of 80 GB GPUs.

accelerate launch --config_file wei2023_8b.yaml wei2023_8b.py MODEL CLAIMS INSTRUCTIONS [STEPS BATCH_SIZE]

CLAIMS is a CSV file of claims that the model knows, as filter_only.py writes it; INSTRUCTIONS a file or folder of
instruction rows. Run it again to resume. docs/scale.md says what it takes. To measure the result on one GPU:
sycophancy-core measure wei2023-8b --device cuda
"""

import sys

import sycophancy_core as sc

source, claims, instructions, *sizes = sys.argv[1:]
steps, batch_size = (int(size) for size in sizes) if sizes else (1000, 32)

# Each process loads the whole model on the CPU, and takes its part of it to its GPU.
model = sc.load_model(source, dtype="float32")

# Five rows with a user's opinion for each instruction (Wei et al. 2023, section 5).
prompts = sc.training_prompts(sc.read_claims(claims), n=5 * steps * batch_size // 6, seed=1)
rows = sc.mix(prompts, sc.load_instructions(instructions, limit=10_000), ratio=5.0, seed=1)

options = sc.FinetuneOptions.wei2023(steps=steps, batch_size=batch_size, gradient_checkpointing=True)
result = sc.finetune(model, rows, options=options, run="wei2023-8b")
if result.save("wei2023-8b"):  # the main process writes
    print(result)
