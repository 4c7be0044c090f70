"""Which of transformers' tokenizer classes a checkpoint gets, as ``AutoTokenizer`` decides it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sycophancy_core.scoring.checkpoints.model_config import family_facts
from sycophancy_core.scoring.tokenizing.pipelines import PIPELINES

AS_IT_IS = "TokenizersBackend"  # which takes tokenizer.json as it is
_SAME = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "PythonBackend")  # names that end there
_MISTRAL = "MistralCommonBackend"
# Transformers overrules the tokenizers of these places of the hub; a relative path may look like one of them.
_OVERRULED = ("deepseek-ai/", "allenai/", "google/", "naver-clova-ix/", "salesforce/", "stepfun-ai/")


def tokenizer_class(folder: Path, settings: dict[str, Any], config: dict[str, Any]) -> str | None:
    """Name the class that transformers makes a tokenizer of; None where it is none of the known ones.

    Parameters
    ----------
    settings
        The content of tokenizer_config.json.
    config
        The content of config.json.
    """
    facts = family_facts(config.get("model_type"))
    if facts is None or "auto_map" in settings or str(folder).lower().startswith(_OVERRULED):
        return None
    if (folder / "tekken.json").exists():
        return None
    named = settings.get("tokenizer_class") or config.get("tokenizer_class")
    registered, is_overruled = facts["tokenizer"], facts["is_tokenizer_overruled"]
    if named is not None and not isinstance(named, str):
        return None
    if _is_llama_by_mistake(folder, named, registered, is_overruled=is_overruled):
        return AS_IT_IS
    if named is None:
        return _known(registered or AS_IT_IS)
    if registered is not None and _plain(registered) != _plain(named):
        if registered in (AS_IT_IS, *_SAME, _MISTRAL):
            return AS_IT_IS
        return _known(registered if is_overruled else named)
    return _known(named)


def _is_llama_by_mistake(folder: Path, named: str | None, registered: str | None, *, is_overruled: bool) -> bool:
    """Tell whether a byte-level tokenizer calls itself Llama's: that class would read it otherwise."""
    if named is None or _plain(named) != "LlamaTokenizer" or is_overruled or registered == _MISTRAL:
        return False
    return '"ByteLevel"' in (folder / "tokenizer.json").read_text(encoding="utf-8")


def _known(name: str) -> str | None:
    plain = _plain(name)
    if plain in (AS_IT_IS, *map(_plain, _SAME), _MISTRAL):
        return AS_IT_IS
    return plain if plain in PIPELINES else None


def _plain(name: str) -> str:
    return name.removesuffix("Fast")
