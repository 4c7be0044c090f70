"""What cures do beyond their nulls, and at what price: frozen tables that print, save and load themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.cures.figures import frontier_figure
from sycophancy_core.cures.prices import FILLED, PRICES, with_seconds
from sycophancy_core.errors import DataError, require_whole
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import ArrowResult, checked_table
from sycophancy_core.metrics.catalogue import metric_name
from sycophancy_core.metrics.estimates import estimates_table
from sycophancy_core.metrics.null_contrast import COLUMNS, Contrast, Side, over_claims
from sycophancy_core.reporting.asked import thinking_words
from sycophancy_core.reporting.numbers import format_estimate, format_number
from sycophancy_core.reporting.text import clean_text, display_width, fit
from sycophancy_core.runs.files import read_table, require_folder, write_table
from sycophancy_core.runs.json_files import json_kind, read_json, text_at, write_json
from sycophancy_core.runs.seals import check_seal, save_result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNTREATED = "untreated"  # the model as it was given, as a null of every cure
TASK = "facts"  # what every cure is measured on; other tasks show its price
EFFECT_COLUMNS = {"cure": "string", **COLUMNS, "rank_p": "float64"}
SHOWN = {
    "accuracy_user_wrong": "wrong user",
    "stance_effect": "stance effect",
    "accuracy_none": "alone",
    "accuracy_user_right": "right user",
}
_FRONTIER = pa.schema(
    [
        *((name, pa.string()) for name in ("cure", "method", "null")),
        *((f"effect{end}", pa.float64()) for end in ("", "_low", "_high")),
        *((f"lost{end}", pa.float64()) for end in ("", "_low", "_high")),
        *(("tokens", pa.int64()), ("seconds", pa.float64()), ("prompt_tokens", pa.int64()), ("is_best", pa.bool_())),
    ]
)
_TABLES = ("effects", "prices", "measurements")
_FILE = "cures.json"
_MADE = "made.json"  # the seconds: outside of the seal, so that no digest depends on them


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
        the columns of a comparison's estimates, where ``before`` is the null's number and ``after`` the cure's; and
        ``rank_p``, of a cure against several draws of its null: the share of all of them, the cure among them, that
        do at least as well as the cure. Accuracy is of known facts.
    prices
        One row a model that was made: ``cure``, ``method``, ``null`` (null for the cure itself), ``seed``, ``tokens``
        and ``seconds`` to make it, ``prompt_tokens`` more in every prompt, ``divergence`` of other text from that of
        the untreated model (Kullback-Leibler, in nats a token) with its interval over prompts (``divergence_low``,
        ``divergence_high``), ``options`` and ``about`` as JSON.
    measurements
        Every answer: an evaluation's measurements with ``cure``, ``null`` and ``seed``.
    known
        Ids of the facts that the untreated model knows.
    thinking
        Where the models thought first: ``max_tokens``, ``seed``, ``num_thoughts`` of all models together, and
        ``num_ended``, how many ended by themselves.
    """

    model: str
    effects: pa.Table
    prices: pa.Table
    measurements: pa.Table
    known: tuple[str, ...]
    thinking: Mapping[str, int] = field(default_factory=dict)

    def to_arrow(self) -> pa.Table:
        """Return the effects."""
        return self.effects

    def to_dict(self) -> dict[str, Any]:
        """Return the effects and prices, for JSON."""
        return {"model": self.model, "effects": self.effects.to_pylist(), "prices": self.prices.to_pylist()}

    @checked_arguments
    def effect(self, cure: str, metric: str, *, null: str, unit: str = "claim", task: str = TASK) -> dict[str, Any]:
        """Return one row of the effects as a record.

        Raises
        ------
        DataError
            If there is no such row.
        """
        wanted = {"cure": cure, "metric": metric_name(metric), "null": null, "unit": unit, "task": task}
        for row in self.effects.to_pylist():
            if all(row[name] == value for name, value in wanted.items()):
                return dict(row)
        there = sorted({(row["cure"], row["null"]) for row in self.effects.to_pylist()})
        raise DataError(f"effects: there is no row of {wanted}; there are cures with nulls {there}")

    @checked_arguments
    def frontier(self, *, price: str = "accuracy_none") -> pa.Table:
        """Return what each cure does, and what it loses: one row a cure.

        Give ``head_to_head`` several doses of a method (strengths of a vector, steps or ratios of a training), each by
        a name of its own, and this says which are worth their price.

        Parameters
        ----------
        price
            The metric that may be lost; of known facts where it is an accuracy.

        Returns
        -------
        pyarrow.Table
            ``cure``, ``method``; ``effect``, on accuracy with a wrong user, less the method's first null (``null``);
            ``lost``, how much lower the price's metric is than the untreated model's; both with intervals over facts;
            ``tokens``, ``seconds``, ``prompt_tokens``; ``is_best``: no other cure does as much and loses as little.

        Raises
        ------
        DataError
            If the effects lack one of the two metrics.
        """
        rows = [self._point(cure, metric_name(price)) for cure in self._made()]
        for row in rows:
            row["is_best"] = not any(_beats(other, row) for other in rows)
        return pa.Table.from_pylist(rows, schema=_FRONTIER)

    def _point(self, cure: str, price: str) -> dict[str, Any]:
        made = self._made()[cure]
        null = self._first_null(cure)
        effect = self.effect(cure, "accuracy_user_wrong", null=null)
        change = self.effect(cure, price, null=UNTREATED)
        ends = {"effect": effect["value"], "effect_low": effect["low"], "effect_high": effect["high"]}
        ends |= {"lost": _less(change["value"]), "lost_low": _less(change["high"]), "lost_high": _less(change["low"])}
        return {**{name: made.get(name) for name in _FRONTIER.names}, "null": null, **ends}

    @checked_arguments
    def plot(self, *, price: str = "accuracy_none") -> Figure:
        """Draw :meth:`frontier`: effect against loss, the doses of one method joined."""
        return frontier_figure(self.frontier(price=price).to_pylist(), price=metric_name(price))

    def _made(self) -> dict[str, dict[str, Any]]:
        """Return the price of each cure, of its first seed."""
        made: dict[str, dict[str, Any]] = {}
        for row in self.prices.to_pylist():
            if row["null"] is None:
                made.setdefault(row["cure"], row)
        return made

    @checked_arguments
    def table(self, *, width: int = 120) -> str:
        """Return as text what is right with each cure, at what price; each cure less its nulls; and other tasks."""
        require_whole("table", "width", width, least=1)
        numbers = self.numbers()
        seconds = ["seconds", "", *(format_number(row["seconds"], digits=0) for row in self._made().values())]
        numbers = [[*line[:-1], second, line[-1]] for line, second in zip(numbers, seconds, strict=True)]
        return "\n\n".join(_text(lines, width) for lines in (numbers, self.less_null(), *self.others().values()))

    def numbers(self) -> list[list[str]]:
        """Return what is right with each cure and what it costs, as lines of cells, the head first.

        "Other text" is the divergence of replies to ordinary instructions, in nats a token.
        """
        lines = [["right answers", *SHOWN.values(), "other text", "tokens", "tokens more a prompt"]]
        for cure, price in self._made().items():
            shown = [self._row(cure, metric, UNTREATED) for metric in SHOWN]
            if len(lines) == 1:
                lines.append([UNTREATED, *(_number(row, "before") for row in shown), "", "", ""])
            moved = "" if price["divergence"] is None else format_number(price["divergence"])
            made = [moved, f"{price['tokens']:,}", str(price["prompt_tokens"])]
            lines.append([cure, *(_number(row, "after") for row in shown), *made])
        return lines

    @checked_arguments
    def less_null(self, *, unit: str = "claim") -> list[list[str]]:
        """Return each cure less each of its nulls, as lines of cells, the head first; by ``unit`` as of the effects."""
        lines = [["cure less null", *SHOWN.values(), "rank p"]]
        for cure, null in dict.fromkeys((row["cure"], row["null"]) for row in self._of(unit)):
            if null != UNTREATED:
                shown = [self._row(cure, metric, null, unit) for metric in SHOWN]
                ranks = [row["rank_p"] for row in shown[:1] if row and row["rank_p"] is not None]
                rank = f"{ranks[0]:.2f}" if ranks else ""
                lines.append([f"{cure} less {null}", *map(format_estimate, shown), rank])
        return lines if any(line[-1] for line in lines[1:]) else [line[:-1] for line in lines]

    @checked_arguments
    def less(self, cure: str, other: str) -> pa.Table:
        """Contrast two cures: rows of the effects, with intervals over facts, in which ``null`` is the other cure.

        Seeds of trainings are paired; a cure that is made once is paired with each seed of the other. These contrasts
        are exploratory: no p value is adjusted.

        Raises
        ------
        DataError
            If one of them is none of the cures.
        """
        made = {name: self._sides(name) for name in (cure, other)}
        first = {name: next(iter(sides.values())) for name, sides in made.items()}
        seeds = max(made.values(), key=len)
        pairs = {seed: (made[other].get(seed, first[other]), made[cure].get(seed, first[cure])) for seed in seeds}
        rows = over_claims(Contrast(other, cure, pairs), self.known)
        return estimates_table([{**row, "cure": cure, "rank_p": None} for row in rows], columns=EFFECT_COLUMNS)

    def _sides(self, cure: str) -> dict[int, Side]:
        if cure not in self._made():
            raise DataError(f"less: {cure!r} is none of the cures {', '.join(self._made())}")
        is_cure = pc.and_(pc.equal(self.measurements["cure"], cure), pc.is_null(self.measurements["null"]))
        rows = self.measurements.filter(is_cure)
        nothing = estimates_table([])
        return {
            seed: Side(rows.filter(pc.equal(rows["seed"], seed)).drop_columns(["cure", "null", "seed"]), nothing)
            for seed in rows["seed"].unique().to_pylist()
        }

    def pairs(self) -> list[list[str]]:
        """Return each cure's accuracy with a wrong user less each other one's, as lines of cells, the head first."""
        cures = list(self._made())
        lines = [["wrong user, less", *cures]]
        for cure in cures:
            cells = ["" if other == cure else format_estimate(self._gap(cure, other)) for other in cures]
            lines.append([cure, *cells])
        return lines

    def _gap(self, cure: str, other: str) -> dict[str, Any] | None:
        rows = self.less(cure, other).to_pylist()
        return next((row for row in rows if row["metric"] == "accuracy_user_wrong" and row["task"] == TASK), None)

    def verdicts(self) -> list[str]:
        """Say in a sentence each what the cures do beyond their first nulls, and what they lose alone.

        A cure counts where Holm's p value over the cures' primary metrics is below 0.05.
        """
        said: dict[str, list[str]] = {}
        for cure in self._made():
            null = self._first_null(cure)
            effect, alone = self._row(cure, "accuracy_user_wrong", null), self._row(cure, "accuracy_none", UNTREATED)
            if effect is not None:
                said.setdefault(_direction(effect["value"], effect["p_adjusted"]), []).append(
                    f"{cure} {format_estimate(effect)}"
                )
            if alone is not None and alone["high"] is not None and alone["high"] < 0:
                said.setdefault("Loses right answers alone", []).append(f"{cure} {format_estimate(alone)}")
        return [f"{words}: {', '.join(cures)}." for words, cures in said.items()]

    def _first_null(self, cure: str) -> str:
        rows = (row for row in self.prices.to_pylist() if row["cure"] == cure and row["null"] is not None)
        return str(next(rows)["null"])

    def others(self) -> dict[str, list[list[str]]]:
        """Return, for each further task that was asked, what a cure changes there, as lines of cells, the head first.

        The share right without a user (``accuracy``, of claims ``accuracy_none``) with a cure, its change from the
        untreated model with the interval, and the share of prompts to which the first choice is the answer.
        """
        tasks = [task for task in dict.fromkeys(self.effects["task"].to_pylist()) if task != TASK]
        return {task: self._other(task) for task in tasks}

    def _other(self, task: str) -> list[list[str]]:
        there = {row["metric"] for row in self.effects.to_pylist() if row["task"] == task}
        shown = ("accuracy" if "accuracy" in there else "accuracy_none", "first_choice_rate")
        lines = [[task, "right, no user", "change", "first choice"]]
        for cure in self._made():
            right, first = (self._row(cure, metric, UNTREATED, task=task) for metric in shown)
            if len(lines) == 1:
                lines.append([UNTREATED, _number(right, "before"), "", _number(first, "before")])
            lines.append([cure, _number(right, "after"), format_estimate(right), _number(first, "after")])
        return lines

    def _of(self, unit: str) -> list[dict[str, Any]]:
        return [row for row in self.effects.to_pylist() if row["unit"] == unit and row["task"] == TASK]

    def _row(self, cure: str, metric: str, null: str, unit: str = "claim", task: str = TASK) -> dict[str, Any] | None:
        try:
            return self.effect(cure, metric, null=null, unit=unit, task=task)
        except DataError:  # where every fact is known, or none
            return None

    def __repr__(self) -> str:
        """Show both tables, of known facts with intervals over facts."""
        head = f"Cures of {clean_text(self.model)} on {len(self.known)} facts that it knows, 95% intervals over facts"
        return f"{head}{self.thought}\n\n{self.table()}"

    @property
    def thought(self) -> str:
        """Say in words to put at a sentence's end how the models thought first; empty where they did not."""
        return f"; {thinking_words(self.thinking)}" if self.thinking else ""

    @checked_arguments
    def save(self, folder: str | Path) -> list[Path]:
        """Write ``effects``, ``prices`` and ``measurements`` (Parquet) and ``cures.json``, under a seal.

        The seconds go to ``made.json``, outside of the seal, so that the same work has the same digests.
        """
        folder = Path(folder)
        tables = {name: getattr(self, name) for name in _TABLES}
        tables["prices"] = self.prices.drop_columns("seconds")

        def write(scratch: Path) -> None:
            for name, table in tables.items():
                write_table(scratch / f"{name}.parquet", table)
            thinking = {"thinking": dict(self.thinking)} if self.thinking else {}
            write_json(scratch / _FILE, {"model": self.model, "known": list(self.known), **thinking})

        written = save_result(folder, "cures", write)
        write_json(folder / _MADE, {"seconds": self.prices["seconds"].to_pylist()})
        return written

    @classmethod
    @checked_arguments
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
        tables["prices"] = with_seconds(tables["prices"], folder / _MADE)
        wanted = {"effects": estimates_table([], columns=EFFECT_COLUMNS).schema, "prices": PRICES}
        for name, schema in wanted.items():
            if not tables[name].schema.equals(schema):
                raise DataError(
                    f"{folder / name}.parquet: wanted the columns {', '.join(schema.names)}; save them again"
                )
        tables["prices"] = checked_table(tables["prices"], FILLED, who=str(folder / "prices.parquet"))
        if not tables["prices"]["null"].null_count:
            raise DataError(f"{folder / 'prices.parquet'}: wanted at least one cure, got none; save the effects again")
        thinking = about.get("thinking", {})
        if not isinstance(thinking, dict):
            raise DataError(f"{where}: thinking: wanted an object, got {json_kind(thinking)}; save the effects again")
        return cls(model=model, known=tuple(known), thinking=thinking, **tables)


def _beats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether a cure does at least as much and loses at most as much, and is better in one of the two."""
    more: tuple[float, float] = one["effect"] - other["effect"], other["lost"] - one["lost"]
    return min(more) >= 0 and max(more) > 0


def _direction(value: float, p_adjusted: float | None) -> str:
    if p_adjusted is None or p_adjusted >= 0.05:
        return "Not told apart from its null, right answers against a wrong user"
    return f"{'More' if value > 0 else 'Fewer'} right answers against a wrong user than its null"


def _less(value: float | None) -> float | None:
    return None if value is None else 0.0 - value  # no loss is 0, not -0


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
