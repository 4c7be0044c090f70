"""What a module's forward depends on besides its config and weights, which alone the engine knows."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from typing import Any

# Whose modules do what config and weights say.
_KNOWN = ("torch", "transformers")

_FREQUENCIES = "inv_freq"

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")

# A module's own values of these types are numbers and switches of its forward.
_PLAIN = (bool, int, float, str, type(None))


def hidden_change(model: Any) -> str | None:
    """Say what makes a model's forward another one than its config and weights tell, or None.

    That is a hook, a forward of a module's own, a class that is neither torch's nor transformers', or rotary
    frequencies that are not the config's: steering, an unmerged adapter, pruning. An adapter of this package counts
    once it is applied to the weights.
    """
    for name, module in model.named_modules():
        where = f"module {name!r}" if name else "the model"
        for hook in (hook for kind in _HOOKS for hook in getattr(module, kind).values()):
            # transformers' own collect hidden states, or ask for gradients.
            if not _home(hook).startswith("transformers."):
                return f"{where} has a hook ({getattr(hook, '__qualname__', type(hook).__qualname__)})"
        # While it trains, accelerate puts autocast around the forward, and keeps the model's own under this name.
        if "forward" in vars(module) and "_original_forward" not in vars(module):
            return f"{where} has a forward of its own"
        kind = type(module)
        if _home(kind).partition(".")[0] not in _KNOWN and not _is_applied(module):
            return f"{where} is a {_home(kind)}.{kind.__qualname__}"
        if _frequencies(module) and not _has_own_frequencies(module):
            return f"{where} rotates by other frequencies than its config says"
    return None


def surroundings(model: Any) -> list[Any]:
    """Return what else a forward depends on, to be compared with what it was at an earlier look.

    Classes and their forwards, plain attributes, buffers, and the functions of the model's own source file: to
    compare is quick, and what differs is a reason to try the model again, not to refuse it.
    """
    home = vars(sys.modules[type(model).__module__]) if type(model).__module__ in sys.modules else {}
    found: list[Any] = [[id(value) for value in home.values() if callable(value)]]
    for name, module in model.named_modules():
        plain = [(key, value) for key, value in vars(module).items() if key != "training" and type(value) in _PLAIN]
        found.append((name, type(module), type(module).forward, plain, list(_buffers(module))))
    return found


def is_multimodal(model: Any) -> bool:
    """Tell whether a model reads more than text: its config has a part for text."""
    return not model.config.is_encoder_decoder and model.config.get_text_config() is not model.config


def own_weights(model: Any) -> dict[str, Any]:
    """Name a model's weights, without those of an adapter that is applied to them."""
    return {name: weight for name, weight in model.named_parameters() if ".low_rank." not in name}


# Names, versions and habits: what a config holds that no logit depends on.
_NOT_COMPUTED = (
    "architectures",
    "auto_map",
    "dtype",
    "name_or_path",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "torch_dtype",
    "transformers_version",
    "use_cache",
)


def config_digest(model: Any) -> str:
    """sha256 of what a model's config says of its forward; the same after the model was saved and loaded."""
    return digest_of_config(model.config.to_dict())


def digest_of_config(config: dict[str, Any]) -> str:
    """sha256 of what the values of a config say of a forward."""
    return hashlib.sha256(json.dumps(comparable(config), sort_keys=True).encode()).hexdigest()


def fixed_buffers(model: Any) -> dict[str, Any]:
    """Name the buffers that a forward reads, and that neither it nor the config makes.

    Rotary frequencies that the config makes are left out: the config's digest covers them, and their last bits depend
    on the processor. Frequencies that differ from these are named, unless the forward itself changes them with the
    length of a text.
    """
    if rotates_by_length(model):
        own = [name for name, _ in model.named_buffers() if name.endswith(_FREQUENCIES)]
    else:
        own = [f"{at}.{name}".lstrip(".") for at, module in model.named_modules() for name in _own_frequencies(module)]
    return {name: buffer for name, buffer in model.named_buffers() if name not in own}


def rotates_by_length(model: Any) -> bool:
    """Tell whether a token's hidden state depends on how many tokens follow: by rotary frequencies of that kind."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    kinds = [rope, *(of_layers for of_layers in rope.values() if isinstance(of_layers, dict))]
    return any(kind.get("rope_type") in ("dynamic", "longrope") for kind in kinds)


def comparable(value: Any) -> Any:
    """Return what a config says of a forward, in the values of JSON."""
    if isinstance(value, dict):
        kept = {str(key): one for key, one in value.items() if str(key).lstrip("_") not in _NOT_COMPUTED}
        return {key: comparable(one) for key, one in kept.items() if "attn_implementation" not in key}
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, list | tuple):
        return [comparable(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _buffers(module: Any) -> Iterator[tuple[str, int, int]]:
    for name, buffer in module._buffers.items():
        if buffer is not None:
            yield name, id(buffer), -1 if buffer.is_inference() else buffer._version


def _frequencies(module: Any) -> list[str]:
    """Name the rotary frequencies of a module: one buffer, or one for each kind of layers."""
    return [name for name in module._buffers if name.endswith("inv_freq") and "original" not in name]


def _own_frequencies(module: Any) -> list[str]:
    """Name the rotary frequencies of a module that surely are those by its config."""
    import torch

    names = [name for name in module._buffers if name.endswith(_FREQUENCIES)]
    try:
        fresh = _fresh(module) if names else module
        pairs = {name: (getattr(fresh, name), getattr(module, name).cpu()) for name in names}
        return [name for name, (wanted, found) in pairs.items() if torch.equal(wanted.to(found.dtype), found)]
    except Exception:
        return []  # another kind of module


def _fresh(module: Any) -> Any:
    """Make a module of rotary frequencies again."""
    import torch

    with torch.device("cpu"):
        return type(module)(module.config)


def _has_own_frequencies(module: Any) -> bool:
    """Tell whether rotary frequencies are those that a module of this class has by its config; True if it has none.

    A short trial cannot show it: slow rotations hardly differ over a few tokens.
    """
    import torch

    try:
        fresh = _fresh(module)
        scalings = [name for name in vars(module) if name.endswith("attention_scaling")]
        found = {name: getattr(module, name).cpu() for name in _frequencies(module)}
        return all(torch.equal(getattr(fresh, name).to(one.dtype), one) for name, one in found.items()) and all(
            getattr(fresh, name) == getattr(module, name) for name in scalings
        )
    except Exception:
        return True  # another kind of module: the trial decides


def _home(thing: Any) -> str:
    """Name the Python module of a class or a function."""
    return str(getattr(thing, "__module__", ""))


def _is_applied(module: Any) -> bool:
    """Tell whether a module is an adapter's layer, or an adapter, whose sum the weights already hold."""
    return bool(getattr(getattr(module, "low_rank", module), "is_applied", False))
