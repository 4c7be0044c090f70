"""How a config says that positions turn a head's features, in the one form that transformers gives it."""

from __future__ import annotations

from typing import Any

_GLOBAL_THETA, _LOCAL_THETA = 1e6, 1e4  # Gemma 3
# What each kind must say; more and others are left to the engine, which refuses them by name.
_NEEDED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}


class UnsureError(Exception):
    """What transformers makes of a config is not surely known."""


def set_rotation(family: str, config: dict[str, Any], others: dict[str, Any], theta: float | None) -> dict[str, Any]:
    """Set ``rope_parameters`` of a config, and return its other values without those that went into it.

    Parameters
    ----------
    others
        Values of keys that are no fields of the family.
    theta
        The family's base where the config has none.

    Raises
    ------
    UnsureError
        If transformers may make something else of it.
    """
    others = dict(others)
    scaling = others.pop("rope_scaling", None)
    if family in ("gemma3_text", "olmo3"):
        _set_by_kind(family, config, others, scaling, theta)
    else:
        _set_alike(family, config, others, scaling, theta)
    return others


def _set_alike(family: str, config: dict[str, Any], others: dict[str, Any], scaling: Any, theta: float | None) -> None:
    rope = scaling or config["rope_parameters"] or {}
    if not isinstance(rope, dict) or any(isinstance(value, dict) for value in rope.values()):
        raise UnsureError
    if family == "gpt_neox":
        theta, part = others.pop("rotary_emb_base", theta), others.pop("rotary_pct", 0.25)
    elif family == "phi3":
        theta, part = others.pop("rope_theta", theta), others.get("partial_rotary_factor", 1.0)
    else:
        theta, part = others.pop("rope_theta", theta), others.pop("partial_rotary_factor", None)
    rope.setdefault("rope_theta", theta)
    if part is not None:
        rope.setdefault("partial_rotary_factor", part)
    _finish(rope, config)
    if family == "phi3" and rope["rope_type"] != "default":
        raise UnsureError
    config["rope_parameters"] = rope


def _set_by_kind(
    family: str, config: dict[str, Any], others: dict[str, Any], scaling: Any, theta: float | None
) -> None:
    """Set the rotations of layers that see all and of those with a window."""
    rope = {"sliding_attention": {"rope_type": "default"}, "full_attention": {"rope_type": "default"}}
    rope = config["rope_parameters"] if config["rope_parameters"] is not None else rope
    if scaling is not None:
        rope["full_attention"].update(scaling)
    local = "rope_theta" if family == "olmo3" else "rope_local_base_freq"  # of OLMo 3 none is left for the second
    bases = {
        "full_attention": others.pop("rope_theta", theta or _GLOBAL_THETA),
        "sliding_attention": others.pop(local, theta or _LOCAL_THETA),
    }
    for kind, base in bases.items():
        if rope.get(kind) is None:
            rope[kind] = {"rope_type": "default"}
        rope[kind].setdefault("rope_theta", base)
    if set(rope) != set(bases) or not set(bases) <= set(config["layer_types"]):
        raise UnsureError
    for one in rope.values():
        _finish(one, config)
    config["rope_parameters"] = rope


def _finish(rope: dict[str, Any], config: dict[str, Any]) -> None:
    rope.setdefault("rope_type", rope.get("type", "default"))
    kind = rope["rope_type"]
    if kind not in _NEEDED or any(key not in rope for key in _NEEDED[kind]):
        raise UnsureError
    values = [value for key, value in rope.items() if key not in ("rope_type", "type", "truncate")]
    if any(isinstance(value, bool) or not isinstance(value, int | float | None) for value in values):
        raise UnsureError
    if kind in ("llama3", "yarn"):
        rope.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
