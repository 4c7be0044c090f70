"""What a module does beyond its config and weights, which is all that the package's own engine knows of it."""

from __future__ import annotations

from typing import Any

# Whose modules do what config and weights say.
_KNOWN = ("torch", "transformers")
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


def hidden_change(model: Any) -> str | None:
    """Say what makes a model's forward another one than its config and weights tell, or None.

    That is a hook, a forward of a module's own, or a class that is neither torch's nor transformers': steering, an
    unmerged adapter, pruning. An adapter of this package counts once it is applied to the weights.
    """
    for name, module in model.named_modules():
        where = f"module {name!r}" if name else "the model"
        for hook in (hook for kind in _HOOKS for hook in getattr(module, kind).values()):
            # transformers' own collect hidden states, or ask for gradients.
            if not _room(hook).startswith("transformers."):
                return f"{where} has a hook ({getattr(hook, '__qualname__', type(hook).__qualname__)})"
        # While it trains, accelerate puts autocast around the forward, and keeps the model's own under this name.
        if "forward" in vars(module) and "_original_forward" not in vars(module):
            return f"{where} has a forward of its own"
        kind = type(module)
        if _room(kind).partition(".")[0] not in _KNOWN and not _is_applied(module):
            return f"{where} is a {_room(kind)}.{kind.__qualname__}"
    return None


def _room(thing: Any) -> str:
    """Name the Python module of a class or a function."""
    return str(getattr(thing, "__module__", ""))


def own_weights(model: Any) -> dict[str, Any]:
    """Name a model's weights, without those of an adapter that is applied to them."""
    return {name: weight for name, weight in model.named_parameters() if ".low_rank." not in name}


def _is_applied(module: Any) -> bool:
    """Tell whether a module is an adapter's layer, or an adapter, whose sum the weights already hold."""
    return bool(getattr(getattr(module, "low_rank", module), "is_applied", False))
