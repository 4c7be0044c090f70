"""YAML, read with a sentence for every fault, and without what lets a short file grow or a value surprise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sycophancy_core.errors import DataError

MAX_YAML_BYTES = 1 << 20
_MOST = 2**63


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file of at most 1 MiB: plain scalars, lists and mappings, without anchors' aliases.

    Raises
    ------
    DataError
        If the file is larger, no YAML, repeats a part by its anchor, or holds a value that has no plain form.
    """
    import yaml

    path = Path(path)
    size = path.stat().st_size
    if size > MAX_YAML_BYTES:
        raise DataError(f"{path}: wanted at most {MAX_YAML_BYTES} bytes of YAML, got {size}")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
    except RecursionError as error:
        raise DataError(f"{path}: wanted YAML, got too deep a nesting") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: wanted YAML, got {' '.join(str(error).split())[:300]}") from error
    except (ValueError, LookupError, OverflowError, TypeError, AttributeError) as error:
        # What PyYAML's makers of numbers, dates and truth values raise.
        raise DataError(f"{path}: wanted YAML, got a value that cannot be read ({str(error)[:100]})") from error


def _loader() -> Any:
    import yaml

    class PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML carries no types
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                where = self.peek_event().start_mark
                raise yaml.YAMLError(f"an alias (line {where.line + 1}); write the part out where it is meant")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise yaml.YAMLError(f"the key {twice!r} twice (from line {node.start_mark.line + 1}); drop one")
            return super().construct_mapping(node, deep=deep)

        def construct_plain_int(self, node: Any) -> int:
            value = int(self.construct_yaml_int(node))
            if not -_MOST <= value < _MOST:
                raise yaml.YAMLError(f"a whole number beyond 64 bits (line {node.start_mark.line + 1})")
            return value

        def construct_plain_text(self, node: Any) -> str:
            value = str(self.construct_scalar(node))
            if "\0" in value:
                raise yaml.YAMLError(f"a text with a zero byte (line {node.start_mark.line + 1})")
            return value

    PlainLoader.add_constructor("tag:yaml.org,2002:int", PlainLoader.construct_plain_int)
    PlainLoader.add_constructor("tag:yaml.org,2002:str", PlainLoader.construct_plain_text)
    return PlainLoader
