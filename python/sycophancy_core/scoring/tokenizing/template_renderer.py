"""Chat templates, written out as transformers does it: in a sandbox of Jinja's, with its functions and filters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from importlib import metadata
from typing import Any

_SAFE = (3, 1, 6)  # a checkpoint's template is another's program, and the sandbox of older versions has holes


def is_jinja_safe() -> bool:
    """Tell whether Jinja2 is installed, in a version whose sandbox keeps a template in."""
    try:
        parts = metadata.version("jinja2").split(".")
        return tuple(int(part) for part in parts[:3]) >= _SAFE
    except (metadata.PackageNotFoundError, ValueError):
        return False


def render(template: str, messages: Sequence[Mapping[str, str]], values: Mapping[str, Any]) -> str:
    """Return the text that a chat template makes of messages, which hold texts alone.

    Parameters
    ----------
    values
        What else the template may ask for.

    Raises
    ------
    jinja2.TemplateError
        If the template refuses the messages, or is damaged.
    """
    plain = [{str(key): value for key, value in message.items() if value is not None} for message in messages]
    return str(_compiled(template).render(messages=plain, tools=None, documents=None, **values))


@lru_cache(maxsize=64)
def _compiled(template: str) -> Any:
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation_blocks(), jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.globals["dict"] = _PlainDict()
    environment.globals["namespace"] = _plain_namespace()
    return environment.from_string(template)


def _generation_blocks() -> Any:
    """Return what reads ``{% generation %}``, which marks what the assistant says and leaves it as it is."""
    import jinja2
    import jinja2.ext

    class GenerationBlocks(jinja2.ext.Extension):
        tags = {"generation"}  # noqa: RUF012 - as Jinja2 has it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_as_it_is"), [], [], body).set_lineno(line)

        def _as_it_is(self, caller: Any) -> Any:
            return caller()

    return GenerationBlocks


class _PlainDict:
    """Makes dicts without being ``dict``, through which a template could reach further."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


def _plain_namespace() -> Any:
    """Return Jinja's namespace, without names that begin with an underscore."""
    import jinja2

    def check(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(
                f"Chat templates cannot store underscore-prefixed attributes on a namespace, but got {name!r}. "
                "Please rename the attribute."
            )

    class PlainNamespace(jinja2.utils.Namespace):
        def __init__(*args: Any, **kwargs: Any) -> None:
            attributes = dict(*args[1:], **kwargs)
            for name in attributes:
                check(name)
            jinja2.utils.Namespace.__init__(args[0], attributes)

        def __setitem__(self, name: str, value: Any) -> None:
            check(name)
            super().__setitem__(name, value)

    return PlainNamespace


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    import jinja2

    raise jinja2.exceptions.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
