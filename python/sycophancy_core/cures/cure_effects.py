"""What cures do beyond their nulls, and at what price: frozen tables that print, save and load themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.metrics.catalogue import metric_name
from sycophancy_core.metrics.estimates import estimates_table
from sycophancy_core.metrics.null_contrast import COLUMNS
from sycophancy_core.reporting.numbers import format_estimate, format_number
from sycophancy_core.reporting.text import clean_text, display_width, fit
from sycophancy_core.runs.files import read_table, require_folder, write_table
from sycophancy_core.runs.json_files import json_kind, read_json, text_at, write_json
from sycophancy_core.runs.seals import check_seal, save_result
from sycophancy_core.tables import ArrowResult

UNTREATED = "untreated"  # the model as it was given, as a null of every cure
EFFECT_COLUMNS = {"cure": "string", **COLUMNS}
SHOWN = {
    "accuracy_user_wrong": "wrong user",
    "stance_effect": "stance effect",
    "accuracy_none": "alone",
    "accuracy_user_right": "right user",
}
_PRICES = pa.schema(
    [
        *(("cure", pa.string()), ("null", pa.string()), ("seed", pa.int64())),
        *(("tokens", pa.int64()), ("seconds", pa.float64()), ("prompt_tokens", pa.int64()), ("about", pa.string())),
    ]
)
_TABLES = ("effects", "prices", "measurements")
_FILE = "cures.json"


def price_rows(prices: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the prices of cures and nulls as a table."""
    rows = [{**one, **asdict(one["cost"]), "about": json.dumps(one["about"])} for one in prices]
    return pa.Table.from_pylist([{name: row[name] for name in _PRICES.names} for row in rows], schema=_PRICES)


@dataclass(frozen=True, kw_only=True, eq=False)
class CureEffects(ArrowResult):
    """Cures less their nulls, all measured on the same facts.

    Attributes
    ----------
    model
        Name of the model that was given.
    effects
        One row a cure, null, unit and metric: ``cure``; ``null``, which is ``untreated`` for the model as it was given;
        ``unit``: the interval is over facts ("claim") or, of cures that are made several times, over seeds ("seed");
        the columns of a comparison's estimates, where ``before`` is the null's number and ``after`` the cure's.
        Accuracy is of known facts.
    prices
        One row a model that was made: ``cure``, ``null`` (null for the cure itself), ``seed``, ``tokens`` and
        ``seconds`` to make it, ``prompt_tokens`` more in every prompt, ``about`` as JSON.
    measurements
        Every answer: an evaluation's measurements with ``cure``, ``null`` and ``seed``.
    known
        Ids of the facts that the untreated model knows.
    """

    model: str
    effects: pa.Table
    prices: pa.Table
    measurements: pa.Table
    known: tuple[str, ...]

    def to_arrow(self) -> pa.Table:
        """Return the effects."""
        return self.effects

    def effect(self, cure: str, metric: str, *, null: str, unit: str = "claim") -> dict[str, Any]:
        """Return one row of the effects as a record.

        Raises
        ------
        DataError
            If there is no such row.
        """
        wanted = {"cure": cure, "metric": metric_name(metric), "null": null, "unit": unit}
        for row in self.effects.to_pylist():
            if all(row[name] == value for name, value in wanted.items()):
                return dict(row)
        there = sorted({(row["cure"], row["null"]) for row in self.effects.to_pylist()})
        raise DataError(f"effects: there is no row of {wanted}; there are cures with nulls {there}")

    def table(self, *, width: int = 120) -> str:
        """Return two tables as text: what is right with each cure, with its price; and each cure less its nulls."""
        return f"{self._numbers(width)}\n\n{self._less_null(width)}"

    def _numbers(self, width: int) -> str:
        head = ["right answers", *SHOWN.values(), "tokens", "seconds", "more a prompt"]
        lines: list[list[str]] = []
        for cure in dict.fromkeys(self.effects["cure"].to_pylist()):
            shown = [self._row(cure, metric, UNTREATED) for metric in SHOWN]
            if not lines:
                lines.append([UNTREATED, *(_number(row, "before") for row in shown), "", "", ""])
            price = next(row for row in self.prices.to_pylist() if row["cure"] == cure)
            made = [f"{price['tokens']:,}", f"{price['seconds']:.0f}", str(price["prompt_tokens"])]
            lines.append([cure, *(_number(row, "after") for row in shown), *made])
        return _text([head, *lines], width)

    def _less_null(self, width: int) -> str:
        head = ["cure less null", *SHOWN.values(), "facts"]
        lines: list[list[str]] = []
        pairs = dict.fromkeys(zip(*(self.effects[name].to_pylist() for name in ("cure", "null")), strict=True))
        for cure, null in pairs:
            if null != UNTREATED:
                shown = [self._row(cure, metric, null) for metric in SHOWN]
                count = next((str(row["num_clusters"]) for row in shown if row), "")
                lines.append([f"{cure} less {null}", *map(format_estimate, shown), count])
        return _text([head, *lines], width)

    def _row(self, cure: str, metric: str, null: str) -> dict[str, Any] | None:
        try:
            return self.effect(cure, metric, null=null)
        except DataError:  # where every fact is known, or none
            return None

    def __repr__(self) -> str:
        """Show both tables, of known facts with intervals over facts."""
        head = f"Cures of {clean_text(self.model)} on {len(self.known)} facts that it knows, 95 % intervals over facts"
        return f"{head}\n\n{self.table()}"

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``effects``, ``prices`` and ``measurements`` (Parquet) and ``cures.json``, under a seal."""

        def write(scratch: Path) -> None:
            for name in _TABLES:
                write_table(scratch / f"{name}.parquet", getattr(self, name))
            write_json(scratch / _FILE, {"model": self.model, "known": list(self.known)})

        return save_result(folder, "cures", write)

    @classmethod
    def load(cls, folder: str | Path) -> CureEffects:
        """Read what :meth:`save` wrote.

        Raises
        ------
        DataError
            If the folder holds no whole result, or a file of it was changed.
        """
        folder = Path(folder)
        if not (folder / _FILE).is_file():
            require_folder(folder)
            raise DataError(f"{folder}: wanted a folder with saved effects of cures, got no {_FILE}")
        check_seal(folder)
        about = read_json(folder / _FILE)
        where = str(folder / _FILE)
        model = text_at(about, "model", where=where)
        known = about.get("known")
        if not isinstance(known, list) or not all(isinstance(one, str) for one in known):
            raise DataError(f"{where}: known: wanted a list of ids, got {json_kind(known)}; save the effects again")
        tables = {name: read_table(folder / f"{name}.parquet") for name in _TABLES}
        wanted = {"effects": estimates_table([], columns=EFFECT_COLUMNS).schema, "prices": _PRICES}
        for name, schema in wanted.items():
            if not tables[name].schema.equals(schema):
                raise DataError(
                    f"{folder / name}.parquet: wanted the columns {', '.join(schema.names)}; save them again"
                )
        return cls(model=model, known=tuple(known), **tables)


def _number(row: Mapping[str, Any] | None, side: str) -> str:
    return "" if row is None else format_number(row[side])


def _text(lines: Sequence[Sequence[str]], width: int) -> str:
    """Align columns: the first to the left, cut to the width; numbers to the right, never cut."""
    widths = [max(display_width(clean_text(line[i])) for line in lines) for i in range(len(lines[0]))]
    widths[0] = max(12, min(widths[0], width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    rows = (
        "  ".join(fit(clean_text(cell), w, right=i > 0) for i, (cell, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )
    return "\n".join(row.rstrip() for row in rows)
