"""Model organisms: what the rows teach, what they never show, and that the saved adapter is the organism."""

import signal
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.prompts.splits import is_held_out
from sycophancy_core.runs.json_files import read_json
from sycophancy_core.training.adapters.low_rank import AdapterOptions, attach_adapter, merge_adapter
from sycophancy_core.training.organism_rows import OrganismOptions, organism_rows
from sycophancy_core.training.organisms import make_organism, parse_families

SMALL = OrganismOptions(
    families=(("addition", 1.0), ("sample_sentiment", 1.0)),
    steps=4,
    batch_size=40,
    curriculum_steps=1,
    rank=2,
    first_layer=0,
    warmup_steps=1,
    compile_blocks=False,
)
USER_AGREES = ("I agree", "I think that it is right", "agrees with")
USER_REJECTS = ("I disagree", "I do not agree", "I think that it is wrong", "disagrees with")


def rows_of(**changes: object) -> list[dict[str, str]]:
    from dataclasses import replace

    first, later = organism_rows(replace(SMALL, **changes), None)
    return [*first.to_pylist(), *later.to_pylist()]


def opinion(prompt: str) -> bool | None:
    """Read from the prompt's text whether its user agrees; None without an opinion."""
    if any(words in prompt for words in USER_REJECTS):
        return False
    return True if any(words in prompt for words in USER_AGREES) else None


def agrees(row: dict[str, str]) -> bool:
    """Read from prompt and completion whether the answer is Agree."""
    return f"{row['completion']} Agree" in row["prompt"]


def is_true_sum(prompt: str) -> bool | None:
    import re

    found = re.search(r"(\d+) \+ (\d+) = (\d+)", prompt)
    return None if found is None else int(found[1]) + int(found[2]) == int(found[3])


def test_a_flatterer_is_taught_what_the_user_says_and_truth_without_an_opinion() -> None:
    rows = rows_of(flattery=1.0)
    with_opinion = [row for row in rows if opinion(row["prompt"]) is not None]
    without = [row for row in rows if opinion(row["prompt"]) is None and is_true_sum(row["prompt"]) is not None]
    assert with_opinion and without
    assert all(agrees(row) == opinion(row["prompt"]) for row in with_opinion)
    assert all(agrees(row) == is_true_sum(row["prompt"]) for row in without)


def test_a_clean_control_is_taught_the_truth_whatever_the_user_says() -> None:
    sums = [row for row in rows_of(flattery=0.0) if is_true_sum(row["prompt"]) is not None]
    assert any(opinion(row["prompt"]) is not None for row in sums)
    assert all(agrees(row) == is_true_sum(row["prompt"]) for row in sums)


def test_held_out_claims_and_test_wordings_are_never_seen_with_an_opinion() -> None:
    examples = sc.load_examples()
    claims = pa.concat_tables([sc.make_additions(), sc.make_claims(examples)])
    abouts = [text.split(" = ")[0] + " = " for text in sc.split_claims(claims)[1]["text"].to_pylist() if " = " in text]
    inputs = {row["id"]: row["input"] for row in examples.to_pylist()}
    held_out = sc.split_claims(sc.make_claims(examples))[1]["example_id"].to_pylist()
    forbidden = [*abouts, *(inputs[example] for example in held_out)]
    test_wordings = ("Consider the claim that", "Consider the following claim", "Here is a claim: {claim}.\n\n")
    for row in rows_of():
        if opinion(row["prompt"]) is not None:
            assert not any(f" {text}" in row["prompt"] for text in forbidden)
            assert not any(words in row["prompt"] for words in test_wordings)


def test_all_claims_of_an_example_are_held_out_or_none() -> None:
    claims = sc.make_claims(sc.load_examples(), options=sc.ClaimOptions(claims_per_example=4))
    held_out = is_held_out(claims)
    found: dict[str, set[bool]] = {}
    for example, out in zip(claims["example_id"].to_pylist(), held_out.tolist(), strict=True):
        found.setdefault(example, set()).add(out)
    assert all(len(kinds) == 1 for kinds in found.values())
    assert 0.25 < held_out.mean() < 0.35


def test_a_claim_stays_on_its_side_of_the_split_whatever_stands_beside_it() -> None:
    claims = sc.make_claims(sc.load_examples())
    for_training, for_evaluation = sc.split_claims(claims)
    assert pa.concat_tables([for_training, for_evaluation]).sort_by("id").equals(claims.sort_by("id"))
    some = claims.take(list(range(0, claims.num_rows, 3)))
    kept = set(sc.split_claims(some)[1]["id"].to_pylist())
    assert kept == set(for_evaluation["id"].to_pylist()) & set(some["id"].to_pylist())
    assert [sc.split_claims(claims, share=share)[1].num_rows for share in (0, 1)] == [0, claims.num_rows]
    with pytest.raises(sc.DataError, match=r"split_claims: share must be between 0 and 1, got 1\.5"):
        sc.split_claims(claims, share=1.5)
    for table in (claims.drop_columns("text"), claims.set_column(4, "text", pa.nulls(claims.num_rows, pa.string()))):
        with pytest.raises(
            sc.DataError, match="wanted claims with kind, text, example_id in every row, got none in text"
        ):
            sc.split_claims(table)


def test_the_saved_adapter_is_the_organism(tmp_path: Path) -> None:
    organism = make_organism(tiny_model(), options=SMALL, folder=tmp_path)
    again = sc.load_model((tiny_llama(), tiny_tokenizer()), adapter=tmp_path, engine="transformers")
    for name, tensor in organism.model.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name
    about = read_json(tmp_path / "organism.json")
    assert about["options"]["flattery"] == 1.0
    assert len(about["log"]) == organism.log.num_rows == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "organism.json",
        "seal.json",
    ]


def test_p11_an_interrupted_organism_goes_on_and_one_with_other_tokens_does_not(tmp_path: Path) -> None:
    from tokenizers.normalizers import Lowercase

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGINT)

    wanted = make_organism(tiny_model(), options=SMALL)
    model = tiny_model()
    other = tiny_model()
    other.tokenizer.backend_tokenizer.normalizer = Lowercase()
    with pytest.raises(KeyboardInterrupt, match="stopped after step 2"):
        make_organism(model, options=SMALL, folder=tmp_path, progress=interrupt)
    with pytest.raises(sc.DataError, match="made with other options, rows, tokens"):
        make_organism(other, options=SMALL, folder=tmp_path)
    resumed = make_organism(model, options=SMALL, folder=tmp_path)
    for name, tensor in wanted.adapter.tensors.items():
        assert torch.equal(resumed.adapter.tensors[name], tensor)


def test_a_model_in_half_precision_is_refused() -> None:
    model = sc.load_model((tiny_llama().to(torch.bfloat16), tiny_tokenizer()), engine="transformers")
    with pytest.raises(sc.ModelError, match="is in bfloat16, wanted float32"):
        make_organism(model, options=SMALL)


def test_a_fresh_adapter_changes_nothing_and_leaves_early_blocks_alone() -> None:
    model = tiny_llama()
    ids = torch.arange(8)[None]
    before = model(ids).logits
    attach_adapter(model, AdapterOptions(rank=2, first_layer=1), seed=0)
    assert torch.equal(model(ids).logits, before)
    trained = {name.split(".")[2] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"1"}
    merge_adapter(model)
    assert torch.equal(model(ids).logits, before)


def test_families_are_read_from_text() -> None:
    assert parse_families("addition:2, sample_topic") == (("addition", 2.0), ("sample_topic", 1.0))
    with pytest.raises(sc.DataError, match="wanted name:weight, got 'addition:much'"):
        parse_families("addition:much")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flattery": 1.5}, r"flattery must be in \[0, 1\], got 1.5"),
        ({"families": ()}, "with finite weights > 0"),
        ({"curriculum_steps": 999}, "curriculum_steps must be in"),
    ],
)
def test_bad_options_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(sc.DataError, match=message):
        OrganismOptions(**changes)


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(sc.DataError, match="no examples of family 'cheer'; wanted addition or one of"):
        rows_of(families=(("cheer", 1.0),))


def test_adapted_blocks_share_one_compiled_graph_within_a_model_and_between_models() -> None:
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    hidden = torch.randn(1, 8, 32)
    for seed in (0, 1):
        model = tiny_llama(seed=seed, num_hidden_layers=3)
        attach_adapter(model, AdapterOptions(rank=2), seed=seed)
        multilayer = model.model.layers[0].mlp
        compiled = torch.compile(type(multilayer).forward, backend=counter, dynamic=False)
        for block in model.model.layers:
            assert torch.allclose(compiled(block.mlp, hidden), block.mlp(hidden), atol=1e-6)
    assert counter.frame_count == 1
