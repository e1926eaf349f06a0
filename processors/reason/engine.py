"""What an engine is: it answers questions about clips with a trace in JSON, and is one module of this folder.

    [reason]                      # of a profile
    engine = "endpoint"           # processors/reason/endpoint.py
    url = "http://127.0.0.1:8000/v1"   # any other key is an option of that engine

An engine asks and answers, nothing more: what an answer is worth is judged in `processors.reason.reasoner`.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from processors.reason.trace import Trace, TraceForm
from store.errors import SettingsError
from store.records import digest


@dataclass(frozen=True)
class Picture:
    """A frame that is shown. number: counted from 1. time_s: from the clip's start. jpeg: sRGB."""

    number: int
    time_s: float
    jpeg: bytes


@dataclass(frozen=True)
class Question:
    """What is asked about one clip.

    system, text: the prompt; `text` follows the pictures. seed: another one may give another answer.
    measured: what the rules say of the clip.
    """

    clip_id: str
    system: str
    text: str
    pictures: tuple[Picture, ...]
    seed: int
    measured: Trace


@dataclass(frozen=True)
class Usage:
    """What an answer took. prompt_tokens, answer_tokens (thinking among them): as the model counts; None where nobody
    counted. cost: in the currency of the engine's prices; None without prices.
    """

    seconds: float
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    cost: float | None = None

    @classmethod
    def total(cls, several: Sequence["Usage"]) -> "Usage":
        """The sums of what was counted; None where nothing was."""

        def total(name: str) -> Any:
            known = [value for one in several if (value := getattr(one, name)) is not None]
            return sum(known) if known else None

        return cls(total("seconds") or 0.0, total("prompt_tokens"), total("answer_tokens"), total("cost"))


@dataclass(frozen=True)
class Answer:
    """What came back. text: should be a trace in JSON, and may be anything. thinking: before it, raw."""

    text: str
    thinking: str
    usage: Usage


@dataclass(frozen=True)
class NoAnswer:
    """This question has none: a refusal, an answer that was cut off, or silence; why, for a person."""

    reason: str
    usage: Usage


class Engine(ABC):
    """One way of answering.

    Subclasses name their options (a frozen dataclass `Options` beside them) and take `(options, form)`.

    looks: it wants pictures. is_free: asking again costs nothing, so that its answers are not kept.
    """

    version: ClassVar[int]
    looks: ClassVar[bool] = True
    is_free: ClassVar[bool] = False
    Options: ClassVar[type]

    def __init__(self, options: Any, form: TraceForm) -> None:
        self.options = options
        self.form = form

    @property
    @abstractmethod
    def id(self) -> str:
        """What annotations say of their origin: `measured` for the rules, else kind and model."""

    def load(self, device: str) -> None:
        """Load models onto `device` (see `processors.device.choose_device`).

        Raises:
            ModelUnavailable: weights are missing; the message says how to get them.
            SettingsError: there is no such device.
        """

    def weights(self) -> dict[str, str]:
        """Model name (with revision) to SHA-256 of its weights; needs no loading."""
        return {}

    @property
    def recipe(self) -> str:
        """Hash of all that determines this engine's answers, but for the questions and the schema."""
        told = [f.name for f in fields(self.options) if f.metadata.get("in_recipe", True)]
        options = {name: value for name, value in asdict(self.options).items() if name in told}
        return digest([type(self).__module__, self.version, options, self.weights()])[:16]

    @abstractmethod
    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer | NoAnswer]]:
        """Answer every question once: its index with what came back, as it comes, in any order.

        Raises:
            Unavailable: what every question needs is away (the endpoint, its quota); those that were given stay given.
            Passing: another fault that may pass.
        """


def create_engine(name: str, options: Mapping[str, Any], form: TraceForm) -> Engine:
    """The engine of that name.

    Raises:
        SettingsError: no such engine, or an option that it does not know or take.
    """
    module_name = f"processors.reason.{name}"
    unknown_name = SettingsError(f"engine {name!r} is not known; there are {', '.join(ENGINES)}")
    if not name.isidentifier():
        raise unknown_name
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        raise unknown_name from error
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Engine) and kind is not Engine and kind.__module__ == module_name
    ]
    if not kinds:
        raise unknown_name
    known = {f.name for f in fields(kinds[0].Options)}
    if unknown := sorted(set(options) - known):
        raise SettingsError(
            f"engine {name}: unknown option {', '.join(unknown)}; it has {', '.join(sorted(known)) or 'none'}"
        )
    try:
        return kinds[0](kinds[0].Options(**options), form)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"engine {name}: {error}") from error


ENGINES = ("measured", "local", "endpoint")
