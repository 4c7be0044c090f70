"""Prompts as a model reads them: their tokens turned back into text, special tokens included."""

from __future__ import annotations

import pyarrow as pa

from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.tokens import tokenize_prompts


def as_read(model: LanguageModel, prompts: pa.Table) -> list[str]:
    """Return each prompt as the model reads it before its choices: in its chat template, where it is asked in one.

    The text is that of the very tokens that are scored, so what it shows is what was asked.
    """
    batch = tokenize_prompts(model.encoder, prompts)
    texts: dict[int, str] = {}
    for sequence, prompt in enumerate(batch.prompt_index.tolist()):
        if prompt not in texts:
            context = batch.sequence(sequence)[: batch.num_context[sequence]].tolist()
            texts[prompt] = str(
                model.tokenizer.decode(context, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            )
    return [texts[prompt] for prompt in range(prompts.num_rows)]
