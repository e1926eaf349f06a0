"""Answers by a vision-language model in this process: Qwen3-VL and its Thinking variants, held to the trace's schema.

Every answer that comes back is valid JSON of the schema, whatever the model: while it answers, llguidance leaves it
only the tokens that the schema allows (https://github.com/guidance-ai/llguidance). Before, it may think freely.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from processors.base import NOT_IN_RECIPE
from processors.device import choose_device, half_precision
from processors.engine import OUT_OF_MEMORY
from processors.models.lock import ModelLock, combined_digest, file_sha256
from processors.pretrained import model_folder, model_type, weights_digest
from processors.reason.decoding import Marks, Passage, Sampling, Writer, chosen
from processors.reason.engine import Answer, Engine, NoAnswer, Question, Usage
from processors.reason.trace import TraceForm
from store.errors import SettingsError

log = logging.getLogger(__name__)

MODEL_TYPES = ("qwen3_vl", "qwen3_vl_moe")
"""Of models whose positions `processors.reason.decoding` knows how to count."""
OPEN, CLOSE = "<think>", "</think>"
_WORDS = ("tokenizer.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json")
"""Files that decide, beside configurations and weights, what the model is given to read."""


@dataclass(frozen=True)
class Options:
    """model: a folder or a Hugging Face id.

    thinking_tokens: most that it may think before it answers; 0: not at all. answer_tokens: an answer that is not
    complete with so many is none; that of a good model has 300 to 1,500. temperature, top_k, top_p: see `Sampling`.
    batch: questions that are answered at once, where memory holds them.
    """

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    thinking_tokens: int = 0
    answer_tokens: int = 3072
    temperature: float = 0.0
    top_k: int = 20
    top_p: float = 0.95
    batch: int = field(default=4, metadata=NOT_IN_RECIPE)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(f"model = {self.model!r}; give a folder or an id of the model hub")
        for name, least in (("thinking_tokens", 0), ("answer_tokens", 1), ("top_k", 1), ("batch", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} = {value!r}; give a whole number from {least} on")
        for name, most in (("temperature", 2.0), ("top_p", 1.0)):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value <= most:
                raise ValueError(f"{name} = {value!r}; give a number from 0 to {most:g}")


class Local(Engine):
    """A model of the class Qwen3-VL, by transformers, with its keys and values kept on its device.

    Equal question, seed and options give equal answers on the same kind of device. Questions that are answered together
    share nothing but the rounding of sums, which on a GPU in half precision can tip a choice between near equals; the
    seconds that they take together are shared out among those that were still being answered.
    """

    version = 1
    Options = Options

    def __init__(self, options: Any, form: TraceForm) -> None:
        super().__init__(options, form)
        self._fits = options.batch
        """The largest batch that memory may still hold."""
        self._weights: dict[str, str] | None = None

    @property
    def id(self) -> str:
        return f"local:{_name(self.options.model)}"

    def weights(self) -> dict[str, str]:
        """`vlm`: its configuration and weights, by the lock where it was pulled; `words`: tokens and chat template.

        Raises:
            ModelUnavailable: it is not on this machine.
        """
        if self._weights is None:
            folder = model_folder(self.options.model, self.options.revision, read=False)
            words = {name: file_sha256(folder / name) for name in _WORDS if (folder / name).is_file()}
            self._weights = {"vlm": weights_digest(folder), "words": combined_digest(words)}
        return self._weights

    def load(self, device: str) -> None:
        """See `Engine.load`.

        Raises:
            SettingsError: it is a model of another class, or one that does not think where it is asked to.
        """
        folder = model_folder(self.options.model, self.options.revision)
        if (kind := model_type(folder)) not in MODEL_TYPES:
            raise SettingsError(
                f"model {self.options.model!r} is a {kind}; the engine local takes {', '.join(MODEL_TYPES)}"
            )
        on = choose_device(device)
        self._processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
        self._tokenizer = self._processor.tokenizer
        self._tokenizer.padding_side = "left"
        dtype = half_precision(on) or torch.float32
        model: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype=dtype)
        self._model = model.to(on).eval()
        self._marks = self._found_marks()
        words = from_tokenizer(self._tokenizer, n_vocab=self._model.config.text_config.vocab_size)
        grammar = LLMatcher.grammar_from_json_schema(self.form.schema, overrides={"whitespace_flexible": False})
        self._grammar = LLMatcher(words, grammar)
        if self._grammar.is_error():
            raise SettingsError(f"the vocabulary's schema is no grammar: {self._grammar.get_error()}")

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer | NoAnswer]]:
        """See `Engine.answer`; a batch that memory does not hold is halved, and no larger one is tried again."""
        waiting = list(range(len(questions)))
        while waiting:
            batch = waiting[: self._fits]
            try:
                for place, result in self._answers([questions[index] for index in batch]):
                    waiting.remove(batch[place])
                    yield batch[place], result
                continue
            except (RuntimeError, MemoryError) as error:
                told = f"{type(error).__name__}: {error}"[:500]
                if not isinstance(error, MemoryError) and OUT_OF_MEMORY.search(told) is None:
                    raise
            # From here on the error, and with it what its frames hold of the memory, is gone.
            if self._model.device.type == "cuda":
                torch.cuda.empty_cache()
            if len(batch) == 1:
                yield waiting.pop(0), NoAnswer(f"memory does not hold this question: {told}", Usage(0.0))
                continue
            self._fits = (len(batch) + 1) // 2
            log.warning("memory does not hold %d questions, going on with %d: %s", len(batch), self._fits, told)

    def _answers(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer | NoAnswer]]:
        """Answer all at once; each one's place among them with what came back, the shortest first."""
        started_s = time.perf_counter()
        inputs = self._read(questions)
        prompt_tokens = inputs["attention_mask"].sum(dim=1).tolist()
        passage = Passage(self._model, inputs, self._tokenizer.pad_token_id)
        sampling = Sampling(self.options.temperature, self.options.top_k, self.options.top_p)
        writers = [self._writer(question) for question in questions]
        seconds = [0.0] * len(questions)
        at_work = list(range(len(questions)))
        while at_work:
            tokens = chosen(passage.scores, [writers[place] for place in at_work], sampling)
            taken = [writers[place].take(token) for place, token in zip(at_work, tokens, strict=True)]
            kept = [row for row, place in enumerate(at_work) if not writers[place].done]
            if kept and len(kept) < len(at_work):
                passage.keep(kept)
            if kept:
                passage.feed([taken[row] for row in kept])
            now_s = time.perf_counter()
            for place in at_work:
                seconds[place] += (now_s - started_s) / len(at_work)
            for row, place in enumerate(at_work):
                if row not in kept:
                    usage = Usage(seconds[place], prompt_tokens[place], writers[place].n_tokens)
                    yield place, self._result(writers[place], usage)
            started_s = time.perf_counter()
            at_work = [at_work[row] for row in kept]

    def _read(self, questions: Sequence[Question]) -> dict[str, torch.Tensor]:
        """What the model reads of the questions, padded on the left, on its device."""
        pictures = [
            Image.open(BytesIO(picture.jpeg)).convert("RGB") for question in questions for picture in question.pictures
        ]
        prompts = [self._prompt(question) for question in questions]
        inputs = self._processor(text=prompts, images=pictures or None, padding=True, return_tensors="pt")
        return dict(inputs.to(self._model.device))

    def _prompt(self, question: Question) -> str:
        """The text up to the answer, or up to the thinking before it; a mark stands where each picture belongs."""
        shown: list[dict[str, str]] = []
        for picture in question.pictures:
            told = f"Frame {picture.number} at {picture.time_s:.2f} s:\n"
            shown += [{"type": "text", "text": told}, {"type": "image"}, {"type": "text", "text": "\n"}]
        messages = [
            {"role": "system", "content": [{"type": "text", "text": question.system}]},
            {"role": "user", "content": [*shown, {"type": "text", "text": question.text}]},
        ]
        prompt = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        opened = prompt.rstrip().endswith(OPEN)
        if self.options.thinking_tokens:
            return prompt if opened else f"{prompt}{OPEN}\n"
        return f"{prompt.rstrip()}\n\n{CLOSE}\n\n" if opened else prompt

    def _found_marks(self) -> Marks:
        def ids(text: str) -> tuple[int, ...]:
            return tuple(self._tokenizer.encode(text, add_special_tokens=False))

        ends = self._model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends]) | {self._tokenizer.eos_token_id}
        close = ids(CLOSE)
        if len(close) != 1 and self.options.thinking_tokens:
            raise SettingsError(
                f"model {self.options.model!r} has no token {CLOSE}, so it does not think; set thinking_tokens = 0"
            )
        return Marks(frozenset(ends - {None}), close[0], ids("\n\n"), ids(f"\n{CLOSE}\n\n"))

    def _writer(self, question: Question) -> Writer:
        options = self.options
        matcher = self._grammar.deep_copy()
        return Writer(matcher, question.seed, self._marks, options.thinking_tokens, options.answer_tokens)

    def _result(self, writer: Writer, usage: Usage) -> Answer | NoAnswer:
        if writer.problem is not None:
            return NoAnswer(writer.problem, usage)
        return Answer(self._tokenizer.decode(writer.answer), self._tokenizer.decode(writer.thinking), usage)


def _name(model: str) -> str:
    """The hub's id of a model, wherever it lies, or the name of a folder of one's own."""
    place = Path(model)
    if not place.exists():
        return model
    lock = ModelLock.covering(place)
    if lock is not None:
        return place.resolve().relative_to(lock.models_folder.resolve()).as_posix()
    return f"tiny/{place.name}" if place.parent.name == "tiny" else place.resolve().name
