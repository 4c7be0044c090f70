"""
C++ core of sycophancy_core: generation, planning, scoring on the CPU, statistics. Needs no torch.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
import typing_extensions
__all__: list[str] = ['ARMS', 'ChoiceRows', 'ClaimFacts', 'ClaimRows', 'DataError', 'Estimate', 'FilterRule', 'Generation', 'LogitFit', 'MetricChange', 'MetricEstimate', 'ModelError', 'ORDERS', 'PanelEncoderDecoderEngine', 'PanelEngine', 'Plan', 'Protocol', 'QuestionKind', 'RiskPoint', 'Table', 'TableStream', 'ThresholdChoice', 'choose_threshold', 'claim_margins', 'clean_examples', 'clean_field', 'clopper_pearson', 'clopper_pearson_upper', 'clustered_mean', 'clusters_needed', 'cohens_h', 'compare_choices', 'compare_claims', 'detectable', 'draw_instructions', 'holm', 'incomplete_beta', 'incomplete_beta_inverse', 'is_fast', 'judge_claims', 'known_questions', 'logit', 'make_additions', 'make_claims', 'make_plan', 'make_prompts', 'mcnemar_exact', 'mcnemar_power', 'mcnemar_sample_size', 'measure_choices', 'measure_claims', 'mix', 'newcombe', 'normal_quantile', 'p_value', 'paired_difference', 'philox', 'read_jsonl', 'risk_coverage', 'sample_positions', 'sign_flip', 'split_wording', 't_cdf', 't_quantile', 'tango', 'tost', 'wilson']
class DataError(ValueError):
    pass
class ModelError(RuntimeError):
    pass
class Estimate:
    """
    A number with everything that a reader needs to judge it.
    """
    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: Estimate) -> bool:
        ...
    def __init__(self, *, value: typing.SupportsFloat | typing.SupportsIndex = ..., low: typing.SupportsFloat | typing.SupportsIndex = ..., high: typing.SupportsFloat | typing.SupportsIndex = ..., standard_error: typing.SupportsFloat | typing.SupportsIndex = ..., confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95, method: str = '', n: typing.SupportsInt | typing.SupportsIndex = 0, num_clusters: typing.SupportsInt | typing.SupportsIndex = 0, num_unscored: typing.SupportsInt | typing.SupportsIndex = 0, num_rose: typing.SupportsInt | typing.SupportsIndex = 0, num_fell: typing.SupportsInt | typing.SupportsIndex = 0, pseudo: typing.SupportsFloat | typing.SupportsIndex = 0.0, reason: str = '') -> None:
        ...
    def __repr__(self) -> str:
        ...
    @property
    def confidence(self) -> float:
        ...
    @property
    def high(self) -> float:
        ...
    @property
    def low(self) -> float:
        ...
    @property
    def method(self) -> str:
        ...
    @property
    def n(self) -> int:
        ...
    @property
    def num_clusters(self) -> int:
        ...
    @property
    def num_fell(self) -> int:
        ...
    @property
    def num_rose(self) -> int:
        ...
    @property
    def num_unscored(self) -> int:
        ...
    @property
    def pseudo(self) -> float:
        ...
    @property
    def reason(self) -> str:
        ...
    @property
    def standard_error(self) -> float:
        ...
    @property
    def value(self) -> float:
        ...
class LogitFit:
    """
    Coefficients of a logistic regression with clustered standard errors.
    """
    @property
    def coefficient(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def high(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def low(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def n(self) -> int:
        ...
    @property
    def num_clusters(self) -> int:
        ...
    @property
    def num_unscored(self) -> int:
        ...
    @property
    def p_value(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def reason(self) -> str:
        ...
    @property
    def standard_error(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
class ClaimRows:
    """
    One row a prompt; claim, arm, order and pair (or empty) are codes, log_odds NaN = unscored.
    """
    def __init__(self, *, claim: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], arm: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], order: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], log_odds: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], choice_mass: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], pair: typing.Annotated[numpy.typing.ArrayLike, numpy.int64]) -> None:
        ...
class ClaimFacts:
    """
    One row a claim: truth (-1 unknown), cluster, known (or empty).
    """
    def __init__(self, *, is_true: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], cluster: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], known: typing.Annotated[numpy.typing.ArrayLike, numpy.int8]) -> None:
        ...
class ChoiceRows:
    """
    One row a prompt; question, pair and arm are codes, user_choice and target -1 for none, log_prob (n, k) not finite = unscored.
    """
    def __init__(self, *, question: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], pair: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], arm: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], user_choice: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], target: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], num_choices: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], log_prob: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> None:
        ...
class MetricEstimate:
    """
    A named estimate.
    """
    @property
    def estimate(self) -> Estimate:
        ...
    @property
    def metric(self) -> str:
        ...
class MetricChange:
    """
    A metric before, after, and its paired change.
    """
    @property
    def after(self) -> Estimate:
        ...
    @property
    def before(self) -> Estimate:
        ...
    @property
    def change(self) -> Estimate:
        ...
    @property
    def metric(self) -> str:
        ...
class QuestionKind:
    """
    Members:
    
      opinions
    
      accuracy
    
      second_turn
    
      letters
    """
    __members__: typing.ClassVar[dict[str, QuestionKind]]
    accuracy: typing.ClassVar[QuestionKind]
    letters: typing.ClassVar[QuestionKind]
    opinions: typing.ClassVar[QuestionKind]
    second_turn: typing.ClassVar[QuestionKind]
    @typing.overload
    def __eq__(self, other: QuestionKind) -> bool:
        ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool:
        ...
    def __getstate__(self) -> int:
        ...
    def __hash__(self) -> int:
        ...
    def __index__(self) -> int:
        ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __int__(self) -> int:
        ...
    @typing.overload
    def __ne__(self, other: QuestionKind) -> bool:
        ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool:
        ...
    def __repr__(self) -> str:
        ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __str__(self) -> str:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def value(self) -> int:
        ...
class FilterRule:
    """
    Members:
    
      margin
    
      contrast
    
      wei2023
    """
    __members__: typing.ClassVar[dict[str, FilterRule]]
    contrast: typing.ClassVar[FilterRule]
    margin: typing.ClassVar[FilterRule]
    wei2023: typing.ClassVar[FilterRule]
    @typing.overload
    def __eq__(self, other: FilterRule) -> bool:
        ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool:
        ...
    def __getstate__(self) -> int:
        ...
    def __hash__(self) -> int:
        ...
    def __index__(self) -> int:
        ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __int__(self) -> int:
        ...
    @typing.overload
    def __ne__(self, other: FilterRule) -> bool:
        ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool:
        ...
    def __repr__(self) -> str:
        ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __str__(self) -> str:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def value(self) -> int:
        ...
class RiskPoint:
    """
    Claims with confidence >= threshold: their share, their errors, a bound.
    """
    @property
    def coverage(self) -> float:
        ...
    @property
    def error(self) -> float:
        ...
    @property
    def n(self) -> int:
        ...
    @property
    def num_examples(self) -> int:
        ...
    @property
    def threshold(self) -> float:
        ...
    @property
    def upper_bound(self) -> float:
        ...
class ThresholdChoice:
    """
    The laxest threshold that passes, or the reason why none does.
    """
    @property
    def point(self) -> RiskPoint:
        ...
    @property
    def reason(self) -> str:
        ...
class Table:
    """
    A table in Arrow's memory layout; `pyarrow.table` reads it without a copy.
    """
    def __arrow_c_stream__(self, requested_schema: typing.Any = None) -> typing_extensions.CapsuleType:
        ...
    def __len__(self) -> int:
        ...
class TableStream:
    """
    Batches made as they are read; `pyarrow.RecordBatchReader.from_stream`.
    """
    def __arrow_c_stream__(self, requested_schema: typing.Any = None) -> typing_extensions.CapsuleType:
        ...
class Protocol:
    """
    Wording of prompts, checked and compiled.
    """
    def __init__(self, protocol: str, names: str) -> None:
        ...
    @property
    def choices(self) -> typing.Annotated[list[str], "FixedSize(2)"]:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def num_names(self) -> int:
        ...
    @property
    def template_ids(self) -> list[str]:
        ...
class Generation:
    """
    The prompts of a job; rows [begin, end) of it can be made anywhere, by any number of threads.
    """
    def __init__(self, examples: typing.Any, protocol: Protocol, *, n: typing.SupportsInt | typing.SupportsIndex, recipe: str, split: str, repeat_claims: bool, seed: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def stream(self, begin: typing.SupportsInt | typing.SupportsIndex, end: typing.SupportsInt | typing.SupportsIndex, threads: typing.SupportsInt | typing.SupportsIndex) -> TableStream:
        ...
    def table(self, begin: typing.SupportsInt | typing.SupportsIndex, end: typing.SupportsInt | typing.SupportsIndex, threads: typing.SupportsInt | typing.SupportsIndex) -> Table:
        ...
    def tally(self, begin: typing.SupportsInt | typing.SupportsIndex, end: typing.SupportsInt | typing.SupportsIndex, threads: typing.SupportsInt | typing.SupportsIndex) -> tuple[int, int, int]:
        """
        Make all rows in recycled memory, keep none: their number, bytes of text and digest.
        """
class Plan:
    """
    Token sequences laid out so that every shared token is run once, in depth-first order.
    """
    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: Plan) -> bool:
        ...
    def __repr__(self) -> str:
        ...
    @property
    def depths(self) -> numpy.typing.NDArray[numpy.int32]:
        """
        Position in its sequence.
        """
    @property
    def max_depth(self) -> int:
        ...
    @property
    def num_tokens(self) -> int:
        """
        Tokens to run.
        """
    @property
    def num_tokens_unshared(self) -> int:
        ...
    @property
    def parents(self) -> numpy.typing.NDArray[numpy.int64]:
        """
        Row of the token before, or -1.
        """
    @property
    def targets(self) -> numpy.typing.NDArray[numpy.int64]:
        """
        Scored tokens: (row that predicts it, token, sequence).
        """
    @property
    def tokens(self) -> numpy.typing.NDArray[numpy.int32]:
        """
        Token of each row.
        """
class PanelEngine:
    """
    A decoder model on the caller's weights, on the CPU: arrays in float32, float16, or uint16 with the bits of bfloat16. Every job reads them again.
    """
    @typing.overload
    def __init__(self, config_json: str, weights: dict[str, numpy.ndarray]) -> None:
        """
        Check a transformers config and the model's named weights; ModelError names what the engine does not know.
        """
    @typing.overload
    def __init__(self, config_json: str, weights: dict[str, numpy.ndarray], low_rank: dict[str, tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray | None]]) -> None:
        """
        The same with adapters on linear layers, by their names: (down, up, row_factors or None), all float32, so that a layer gives row_factors * (W x + up (down x)) + bias.
        """
    def score(self, tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], offsets: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], num_context: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], *, matmul_precision: str = 'highest', panels_per_thread: typing.SupportsInt | typing.SupportsIndex = 24, num_threads: typing.SupportsInt | typing.SupportsIndex = 0, progress: typing.Any = None) -> tuple:
        """
        Return the log-probability of each sequence's scored tokens, in nats; the number of tokens run; and for each sequence whether no token is likelier than any of its scored ones.
        """
class PanelEncoderDecoderEngine:
    """
    The same for an encoder-decoder: contexts go to the encoder, scored tokens to the decoder.
    """
    def __init__(self, config_json: str, weights: dict[str, numpy.ndarray]) -> None:
        """
        Check a transformers config and the model's named weights; ModelError names what the engine does not know.
        """
    def score(self, tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], offsets: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], num_context: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], *, matmul_precision: str = 'highest', panels_per_thread: typing.SupportsInt | typing.SupportsIndex = 24, num_threads: typing.SupportsInt | typing.SupportsIndex = 0, progress: typing.Any = None) -> tuple:
        """
        Return the log-probability of each sequence's scored tokens, in nats; the number of tokens run; and for each sequence whether no token is likelier than any of its scored ones.
        """
def choose_threshold(confidence: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], is_wrong: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], example: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], thresholds: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], *, max_error: typing.SupportsFloat | typing.SupportsIndex, delta: typing.SupportsFloat | typing.SupportsIndex = 0.05) -> ThresholdChoice:
    ...
def claim_margins(rows: ClaimRows, num_claims: typing.SupportsInt | typing.SupportsIndex) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64]]:
    ...
def clean_examples(raw: typing.Any, *, source: str, fields: collections.abc.Sequence[str], label: str, labels: collections.abc.Sequence[str]) -> tuple[Table, dict[str, int]]:
    """
    Clean the rows of one data set; the table of examples and the number of rows dropped by reason.
    """
def clean_field(text: str) -> str:
    """
    Clean and quote one text as published.
    """
def clopper_pearson(successes: typing.SupportsInt | typing.SupportsIndex, n: typing.SupportsInt | typing.SupportsIndex, *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> Estimate:
    ...
def clopper_pearson_upper(successes: typing.SupportsInt | typing.SupportsIndex, n: typing.SupportsInt | typing.SupportsIndex, *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> float:
    ...
def clustered_mean(values: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], clusters: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95, range_low: typing.SupportsFloat | typing.SupportsIndex = ..., range_high: typing.SupportsFloat | typing.SupportsIndex = ...) -> Estimate:
    ...
def clusters_needed(effect: typing.SupportsFloat | typing.SupportsIndex, sd: typing.SupportsFloat | typing.SupportsIndex, *, alpha: typing.SupportsFloat | typing.SupportsIndex = 0.05, power: typing.SupportsFloat | typing.SupportsIndex = 0.8) -> float:
    ...
def cohens_h(p1: typing.SupportsFloat | typing.SupportsIndex, p2: typing.SupportsFloat | typing.SupportsIndex) -> float:
    ...
def compare_choices(before: ChoiceRows, after: ChoiceRows, kind: QuestionKind, known: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> list[MetricChange]:
    ...
def compare_claims(before: ClaimRows, after: ClaimRows, facts: ClaimFacts, *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> list[MetricChange]:
    ...
def detectable(estimate: Estimate, *, power: typing.SupportsFloat | typing.SupportsIndex = 0.8) -> float:
    ...
def draw_instructions(instructions: typing.Any, *, source: str, count: typing.SupportsInt | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex) -> Table:
    """
    Instruction rows as training rows, in random order; a row comes again only after all others came.
    """
def holm(p_values: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> numpy.typing.NDArray[numpy.float64]:
    ...
def incomplete_beta(a: typing.SupportsFloat | typing.SupportsIndex, b: typing.SupportsFloat | typing.SupportsIndex, x: typing.SupportsFloat | typing.SupportsIndex) -> float:
    ...
def incomplete_beta_inverse(a: typing.SupportsFloat | typing.SupportsIndex, b: typing.SupportsFloat | typing.SupportsIndex, p: typing.SupportsFloat | typing.SupportsIndex) -> float:
    ...
def is_fast(matmul_precision: str) -> bool:
    """
    Whether this processor has instructions that make that precision's products faster than those of 'highest'. ModelError if there is no such precision.
    """
def judge_claims(*, claim: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], arm: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], order: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], log_odds: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], is_true: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], example: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], rule: FilterRule, threshold: typing.SupportsFloat | typing.SupportsIndex = 0.0, orders_agree: bool = False) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64], list[str]]:
    ...
def known_questions(rows: ChoiceRows) -> numpy.typing.NDArray[numpy.int8]:
    ...
def logit(design: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], num_columns: typing.SupportsInt | typing.SupportsIndex, y: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], clusters: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> LogitFit:
    ...
def make_additions(*, first_operand: typing.SupportsInt | typing.SupportsIndex, last_operand: typing.SupportsInt | typing.SupportsIndex, true_share: typing.SupportsFloat | typing.SupportsIndex, errors: collections.abc.Sequence[str], near_max: typing.SupportsInt | typing.SupportsIndex, n: typing.SupportsInt | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex) -> Table:
    """
    True and false sums as claims.
    """
def make_claims(examples: typing.Any, *, recipe: str, negated_share: typing.SupportsFloat | typing.SupportsIndex, claims_per_example: typing.SupportsInt | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex) -> Table:
    """
    Claims of every example, in the examples' order.
    """
def make_plan(tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], offsets: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], num_context: typing.Annotated[numpy.typing.ArrayLike, numpy.int32]) -> Plan:
    """
    Lay ragged token sequences out, each with num_context given tokens and at least one to score.
    """
def make_prompts(claims: typing.Any, protocol: Protocol, *, templates: collections.abc.Sequence[str], split: str, arms: collections.abc.Sequence[str], orders: collections.abc.Sequence[str], design: str, seed: typing.SupportsInt | typing.SupportsIndex) -> Table:
    """
    Prompts of claims.
    """
def mcnemar_exact(b: typing.SupportsInt | typing.SupportsIndex, c: typing.SupportsInt | typing.SupportsIndex) -> float:
    ...
def mcnemar_power(n: typing.SupportsFloat | typing.SupportsIndex, p10: typing.SupportsFloat | typing.SupportsIndex, p01: typing.SupportsFloat | typing.SupportsIndex, *, alpha: typing.SupportsFloat | typing.SupportsIndex = 0.05) -> float:
    ...
def mcnemar_sample_size(p10: typing.SupportsFloat | typing.SupportsIndex, p01: typing.SupportsFloat | typing.SupportsIndex, *, alpha: typing.SupportsFloat | typing.SupportsIndex = 0.05, power: typing.SupportsFloat | typing.SupportsIndex = 0.8) -> float:
    ...
def measure_choices(rows: ChoiceRows, kind: QuestionKind, known: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> list[MetricEstimate]:
    ...
def measure_claims(rows: ClaimRows, facts: ClaimFacts, *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> list[MetricEstimate]:
    ...
def mix(prompts: typing.Any, rows: typing.Any, *, seed: typing.SupportsInt | typing.SupportsIndex) -> Table:
    """
    Training rows: prompts with their right choice, and other training rows evenly among them.
    """
def newcombe(a: typing.SupportsInt | typing.SupportsIndex, b: typing.SupportsInt | typing.SupportsIndex, c: typing.SupportsInt | typing.SupportsIndex, d: typing.SupportsInt | typing.SupportsIndex, *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> Estimate:
    ...
def normal_quantile(p: typing.SupportsFloat | typing.SupportsIndex) -> float:
    ...
def p_value(estimate: Estimate) -> float:
    ...
def paired_difference(before: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], after: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], clusters: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95, range_low: typing.SupportsFloat | typing.SupportsIndex = ..., range_high: typing.SupportsFloat | typing.SupportsIndex = ...) -> Estimate:
    ...
def philox(seed: typing.SupportsInt | typing.SupportsIndex, stream: typing.SupportsInt | typing.SupportsIndex, index: typing.SupportsInt | typing.SupportsIndex, count: typing.SupportsInt | typing.SupportsIndex) -> list[int]:
    """
    The first draws of one item.
    """
def read_jsonl(text: str, *, texts: collections.abc.Sequence[str], label: str, labels: collections.abc.Sequence[str], where: str) -> Table:
    """
    Read the named keys of JSON Lines; an empty label means none.
    """
def risk_coverage(confidence: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], is_wrong: typing.Annotated[numpy.typing.ArrayLike, numpy.int8], example: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], thresholds: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], *, bound_confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> list[RiskPoint]:
    ...
def sample_positions(size: typing.SupportsInt | typing.SupportsIndex, count: typing.SupportsInt | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex) -> list[int]:
    """
    Positions of `count` of `size` items, drawn without repetition, ascending.
    """
def sign_flip(differences: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], clusters: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], *, num_permutations: typing.SupportsInt | typing.SupportsIndex = 10000, seed: typing.SupportsInt | typing.SupportsIndex = 0, num_threads: typing.SupportsInt | typing.SupportsIndex = 0) -> float:
    ...
def split_wording(wording: str) -> list[tuple[str, str]]:
    """
    Role and text of each turn of a wording, cut at its Human: and Assistant: markers.
    """
def t_cdf(t: typing.SupportsFloat | typing.SupportsIndex, df: typing.SupportsFloat | typing.SupportsIndex) -> float:
    ...
def t_quantile(p: typing.SupportsFloat | typing.SupportsIndex, df: typing.SupportsFloat | typing.SupportsIndex) -> float:
    ...
def tango(a: typing.SupportsInt | typing.SupportsIndex, b: typing.SupportsInt | typing.SupportsIndex, c: typing.SupportsInt | typing.SupportsIndex, d: typing.SupportsInt | typing.SupportsIndex, *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> Estimate:
    ...
def tost(estimate: Estimate, margin: typing.SupportsFloat | typing.SupportsIndex) -> float:
    ...
def wilson(successes: typing.SupportsInt | typing.SupportsIndex, n: typing.SupportsInt | typing.SupportsIndex, *, confidence: typing.SupportsFloat | typing.SupportsIndex = 0.95) -> Estimate:
    ...
ARMS: tuple = ('none', 'placebo', 'agree', 'disagree')
ORDERS: tuple = ('agree_first', 'disagree_first')
