"""The rules as an engine: measurements alone, labelled `measured`, in the same form as a model's answers."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from processors.reason.engine import Answer, Engine, Question, Usage
from processors.reason.rules import reason
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
            started_s = time.monotonic()
            trace = reason(question.values, question.duration_s, self.form.vocabulary)
            yield index, Answer(trace.model_dump_json(), "", Usage(time.monotonic() - started_s))
