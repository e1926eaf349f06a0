"""The rules as an engine: measurements alone, labelled `measured`, in the same form as a model's answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from processors.reason.engine import Answer, Engine, Question, Usage
from processors.reason.trace import MEASURED


@dataclass(frozen=True)
class Options:
    """None."""


class Rules(Engine):
    """Answers from the measurements alone; no model's opinion."""

    version: ClassVar[int] = 2
    looks: ClassVar[bool] = False
    is_free: ClassVar[bool] = True
    Options = Options

    @property
    def id(self) -> str:
        return MEASURED

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        for index, question in enumerate(questions):
            yield index, Answer(question.measured.model_dump_json(), "", Usage(0.0))
