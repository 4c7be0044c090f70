"""Chat templates, written out as transformers does it: in a sandbox of Jinja's, with its functions and filters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from importlib import metadata
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.runs.outputs import how_to_install

_SAFE = [3, 1, 6]  # a checkpoint's template is another's program, and the sandbox of older versions has holes


def _require_safe_jinja() -> None:
    try:
        version = metadata.version("jinja2")
    except metadata.PackageNotFoundError as error:
        raise ModelError(f"chat_template: needs jinja2, which is not installed; {how_to_install('jinja2')}") from error
    numbers = [int(number) for number in re.findall(r"\d+", version)[:3]]
    if numbers < _SAFE:
        raise ModelError(f"chat_template: wanted Jinja2 3.1.6 or newer, with a safe sandbox, got {version}; update it")


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
    ModelError
        If there is no Jinja2 that keeps a template in its sandbox.
    """
    plain = [{str(key): value for key, value in message.items() if value is not None} for message in messages]
    return str(_compiled(template).render(messages=plain, tools=None, documents=None, **values))


@lru_cache(maxsize=64)
def _compiled(template: str) -> Any:
    _require_safe_jinja()
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
