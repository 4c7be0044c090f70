"""Set what doses of a vector do against what they lose: python dose_of_a_cure.py MODEL [LIMIT] [STRENGTH ...].

The folder "doses" keeps each finished dose: run it again to resume, or with more strengths.
"""

import sys

import sycophancy_core as sc

source, *sizes = sys.argv[1:]
limit, strengths = (int(sizes[0]), map(float, sizes[1:])) if sizes else (40, (1.0, 2.0, 4.0))

model = sc.load_model(source, chat_template="auto")
layer = model.model.config.num_hidden_layers * 2 // 3
doses = {f"x{strength:g}": sc.Steered(layers=(layer,), strengths=(strength,)) for strength in strengths}
found = sc.head_to_head(
    model,
    {"told": sc.Prompted(), **doses},
    facts=sc.load_facts(["successors", "past_tenses"]),
    test=sc.load_facts(["capitals", "cities", "plurals"]),  # families that no vector is made from
    limit=limit,
    num_random=5,
    run="doses",
)
print(found)
print(found.frontier().select(["cure", "effect", "effect_low", "effect_high", "lost", "is_best"]).to_pandas())
found.plot().savefig("doses.png")
found.save("doses-result")
