"""The engine in this process: answers that keep to the schema, whatever the model, and to their question and seed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llguidance import LLMatcher
from PIL import Image

from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from processors.models.lock import LockedFile, LockedModel, ModelLock
from processors.reason.decoding import Marks, Passage, Sampling, Writer, chosen
from processors.reason.engine import Answer, NoAnswer, Picture, Question, create_engine
from processors.reason.local import Local
from processors.reason.trace import TraceForm
from processors.tiny_vlm import build_qwen3vl
from store.errors import ModelUnavailable, SettingsError
from tests.processors.made_questions import NOTHING

VOCABULARY = load_vocabulary(DEFAULT_VOCABULARY)
FORM = TraceForm(VOCABULARY)
Made = Callable[..., Local]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3-VL."""
    folder = tmp_path_factory.mktemp("data") / "tiny" / "qwen3vl"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        build_qwen3vl(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Made:
    """Makes engines on it, loaded."""

    def made(kind: type[Local] = Local, form: TraceForm = FORM, **options: Any) -> Local:
        local = kind(kind.Options(**{"model": str(folder), "temperature": 1.0} | options), form)
        local.load("cpu")
        return local

    return made


def picture(number: int, seed: int) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 255, (72, 128, 3), dtype=np.uint8)
    jpeg = BytesIO()
    Image.fromarray(pixels).save(jpeg, "jpeg")
    return Picture(number, (number - 1) * 0.5, jpeg.getvalue())


def question(seed: int, n_pictures: int = 2, text: str = "What is seen?") -> Question:
    pictures = tuple(picture(number, number) for number in range(1, n_pictures + 1))
    return Question("clip", "Describe the clip.", text, pictures, seed, NOTHING)


def answers(engine: Local, questions: Sequence[Question]) -> list[Answer]:
    given = dict(engine.answer(questions))
    assert sorted(given) == list(range(len(questions)))
    found = [given[index] for index in range(len(questions))]
    assert all(isinstance(answer, Answer) for answer in found), found
    return [answer for answer in found if isinstance(answer, Answer)]


# --- the form --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thinking_tokens", [0, 12])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_answer_of_a_random_model_keeps_to_the_schema(
    engine: Made, thinking_tokens: int, temperature: float
) -> None:
    local = engine(thinking_tokens=thinking_tokens, temperature=temperature, top_k=1000, top_p=1.0, batch=6)
    found = answers(local, [question(seed, n_pictures=seed % 4) for seed in range(12)])
    traces = [FORM.read(answer.text) for answer in found]
    assert [set(trace.findings) for trace in traces] == [{slot.name for slot in VOCABULARY.slots}] * 12
    assert all(bool(answer.thinking) == bool(thinking_tokens) for answer in found)
    assert not any("</think>" in answer.text + answer.thinking for answer in found)


def test_another_vocabulary_makes_another_grammar(engine: Made) -> None:
    fewer = VOCABULARY.model_copy(update={"slots": VOCABULARY.slots[:2]})
    (answer,) = answers(engine(form=TraceForm(fewer)), [question(3)])
    assert list(json.loads(answer.text)["findings"]) == [slot.name for slot in fewer.slots]


def test_an_answer_that_does_not_end_in_time_is_none(engine: Made) -> None:
    local = engine(answer_tokens=40, thinking_tokens=5)
    ((_, result),) = local.answer([question(0)])
    assert isinstance(result, NoAnswer)
    assert "the answer was cut off after" in result.reason
    assert "raise answer_tokens" in result.reason
    assert result.usage.answer_tokens is not None
    assert 40 <= result.usage.answer_tokens < 120


# --- thinking --------------------------------------------------------------------------------------------------------


def writer(matcher: LLMatcher, close: int, ends: Sequence[int] = (1,), thinking_tokens: int = 5) -> Writer:
    return Writer(matcher, 0, Marks(frozenset(ends), close, (20,), (30, 31)), thinking_tokens, 100)


def test_a_model_may_end_its_thinking_before_the_budget_and_is_made_to_at_it(engine: Made) -> None:
    grammar = engine()._grammar
    ended = writer(grammar.deep_copy(), close=9)
    assert (ended.allowed(700), ended.take(5), ended.take(9)) == (None, [5], [9, 20])
    assert ended.thinking == [5]
    assert ended.allowed(700) is not None

    stopped = writer(grammar.deep_copy(), close=9)
    assert stopped.take(1) == [30, 31]
    assert stopped.thinking == []

    spent = writer(grammar.deep_copy(), close=9, thinking_tokens=2)
    assert (spent.take(5), spent.take(6)) == ([5], [6, 30, 31])
    assert spent.allowed(700) is not None
    assert not spent.done


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("thinking_tokens", [0, 8])
def test_thinking_is_opened_once_and_closed_where_there_is_to_be_none(
    engine: Made, opens: bool, thinking_tokens: int
) -> None:
    local = engine(thinking_tokens=thinking_tokens)
    if not opens:
        local._processor.chat_template = local._processor.chat_template.replace("\\n<think>\\n", "\\n")
    prompt = local._prompt(question(0))
    end = prompt.partition("<|im_start|>assistant\n")[2]
    if thinking_tokens:
        assert end == "<think>\n"
    else:
        assert end == ("<think>\n\n</think>\n\n" if opens else "")


# --- question and seed -----------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_answer_again_and_another_seed_another(engine: Made) -> None:
    first, again, other = answers(engine(thinking_tokens=6), [question(1), question(1), question(2)])
    assert (first.text, first.thinking) == (again.text, again.thinking)
    assert first.text != other.text


def test_without_temperature_the_seed_does_not_matter(engine: Made) -> None:
    first, other = answers(engine(temperature=0.0), [question(1), question(2)])
    assert first.text == other.text


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_hang_on_its_company(engine: Made, temperature: float) -> None:
    local = engine(thinking_tokens=5, temperature=temperature)
    questions = [question(seed, seed, "What is seen? " * (1 + 9 * seed)) for seed in range(4)]
    together = answers(local, questions)
    alone = [answers(local, [each])[0] for each in questions]
    assert [(a.text, a.thinking) for a in together] == [(a.text, a.thinking) for a in alone]
    assert [a.usage.prompt_tokens for a in together] == [a.usage.prompt_tokens for a in alone]
    assert [a.usage.answer_tokens for a in together] == [a.usage.answer_tokens for a in alone]


def test_what_the_pictures_show_reaches_the_model(engine: Made) -> None:
    local = engine(temperature=0.0)
    shown = question(0)
    others = replace(shown, pictures=tuple(picture(number, 50 + number) for number in (1, 2)))
    one, same, other = answers(local, [shown, shown, others])
    assert one.text == same.text
    assert one.text != other.text
    assert one.usage.prompt_tokens == other.usage.prompt_tokens


def test_each_picture_stands_after_its_number_and_time_and_before_the_question(engine: Made) -> None:
    prompt = engine()._prompt(question(0, n_pictures=3, text="What is seen?"))
    mark = "<|vision_start|><|image_pad|><|vision_end|>"
    shown = "".join(f"Frame {n} at {t} s:\n{mark}\n" for n, t in ((1, "0.00"), (2, "0.50"), (3, "1.00")))
    assert prompt.startswith("<|im_start|>system\nDescribe the clip.<|im_end|>\n<|im_start|>user\n")
    assert f"user\n{shown}What is seen?<|im_end|>" in prompt


def test_usage_counts_what_was_read_and_written(engine: Made) -> None:
    local = engine(thinking_tokens=4)
    none, two = answers(local, [question(0, 0), question(0, 2)])
    assert none.usage.prompt_tokens == len(local._tokenizer.encode(local._prompt(question(0, 0))))
    assert two.usage.prompt_tokens is not None
    assert two.usage.prompt_tokens > none.usage.prompt_tokens
    assert two.usage.answer_tokens is not None
    assert two.usage.answer_tokens >= len(local._tokenizer.encode(two.thinking)) + 100
    assert 0 < two.usage.seconds < 60
    assert two.usage.cost is None


# --- decoding --------------------------------------------------------------------------------------------------------


def test_rows_fed_unlike_numbers_of_tokens_read_what_each_would_alone(engine: Made) -> None:
    local = engine()
    one, two = question(0, 1), question(0, 3, "What is heard and seen, and when?")
    pad = local._tokenizer.pad_token_id
    both = Passage(local._model, local._read([one, two]), pad)
    both.feed([[70, 71, 72], [80]])
    both.feed([[73], [81, 82, 83, 84]])
    both.keep([1])
    both.feed([[85]])

    inputs = local._read([two])
    fed = torch.tensor([[80, 81, 82, 83, 84, 85]])
    whole = {
        "input_ids": torch.cat([inputs["input_ids"], fed], dim=1),
        "attention_mask": torch.cat([inputs["attention_mask"], torch.ones_like(fed)], dim=1),
        "mm_token_type_ids": torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(fed)], dim=1),
    }
    with torch.inference_mode():
        expected = local._model(**inputs | whole).logits[:, -1]
    torch.testing.assert_close(both.scores, expected, rtol=1e-4, atol=1e-4)


def test_what_the_schema_leaves_no_choice_in_costs_no_pass_of_the_model(engine: Made) -> None:
    local = engine()
    passes: list[int] = []
    local._model.register_forward_pre_hook(lambda model, args: passes.append(1))
    (answer,) = answers(local, [question(0)])
    assert answer.usage.answer_tokens is not None
    assert len(passes) < 0.75 * answer.usage.answer_tokens


class Free:
    """A writer whose next token may be any, with drawn numbers that a person chose."""

    def __init__(self, drawn: float) -> None:
        self._drawn = drawn

    def allowed(self, n_vocab: int) -> None:
        return None

    def draw(self) -> float:
        return self._drawn


@pytest.mark.parametrize(
    ("drawn", "sampling", "token"),
    [
        (0.0, Sampling(0.0, 4, 1.0), 2),
        (0.0, Sampling(1.0, 4, 1.0), 2),  # the likeliest come first: 2 up to 0.5, 0 up to 0.75, 3 up to 0.9
        (0.49, Sampling(1.0, 4, 1.0), 2),
        (0.6, Sampling(1.0, 4, 1.0), 0),
        (0.8, Sampling(1.0, 4, 1.0), 3),
        (0.95, Sampling(1.0, 4, 1.0), 1),
        (0.95, Sampling(1.0, 2, 1.0), 0),  # only two are left
        (0.95, Sampling(1.0, 4, 0.5), 2),  # the first holds that much alone
        (0.95, Sampling(1.0, 4, 0.6), 0),
        (0.7, Sampling(0.2, 4, 1.0), 2),  # cold: the likeliest has more than nine tenths
    ],
)
def test_a_drawn_number_chooses_among_the_likeliest(drawn: float, sampling: Sampling, token: int) -> None:
    scores = torch.tensor([[0.25, 0.1, 0.5, 0.15]]).log()
    free: Any = Free(drawn)
    assert chosen(scores, [free], sampling) == [token]


# --- memory ----------------------------------------------------------------------------------------------------------


class Cramped(Local):
    """A device that holds `rows` questions."""

    rows = 2
    asked: list[int]

    def load(self, device: str) -> None:
        super().load(device)
        self.asked = []
        self._model.register_forward_pre_hook(self._allocate, with_kwargs=True)

    def _allocate(self, model: Any, args: Any, kwargs: Any) -> None:
        if kwargs.get("pixel_values") is None:
            return
        self.asked.append(len(kwargs["input_ids"]))
        if len(kwargs["input_ids"]) > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def test_a_batch_that_memory_does_not_hold_is_halved_and_no_larger_one_tried(engine: Made) -> None:
    cramped = engine(Cramped, batch=8)
    assert isinstance(cramped, Cramped)
    questions = [question(seed) for seed in range(7)]
    found = answers(cramped, questions)
    assert cramped.asked == [7, 4, 2, 2, 2, 1]
    assert [a.text for a in found] == [a.text for a in answers(engine(), questions)]
    answers(cramped, questions[:3])
    assert cramped.asked[6:] == [2, 1]


def test_a_question_that_memory_does_not_hold_alone_has_no_answer(engine: Made) -> None:
    cramped = engine(Cramped, batch=2)
    assert isinstance(cramped, Cramped)
    cramped.rows = 0
    given = dict(cramped.answer([question(0), question(1)]))
    assert all(isinstance(result, NoAnswer) and "out of memory" in result.reason for result in given.values())
    assert sorted(given) == [0, 1]


def test_another_fault_of_the_model_is_not_taken_for_memory(engine: Made) -> None:
    local = engine()

    def fail(model: Any, args: Any, kwargs: Any) -> None:
        raise RuntimeError("device-side assert")

    local._model.register_forward_pre_hook(fail, with_kwargs=True)
    with pytest.raises(RuntimeError, match="device-side assert"):
        list(local.answer([question(0)]))


# --- the model -------------------------------------------------------------------------------------------------------


def test_it_is_called_by_its_id_or_its_folders_name_never_by_a_path(folder: Path, tmp_path: Path) -> None:
    def called(model: Path | str) -> str:
        return create_engine("local", {"model": str(model)}, FORM).id

    assert called("Qwen/Qwen3-VL-4B-Thinking") == "local:Qwen/Qwen3-VL-4B-Thinking"
    assert called(folder) == "local:tiny/qwen3vl"
    (tmp_path / "my-own").symlink_to(folder)
    assert called(tmp_path / "my-own") == "local:qwen3vl"
    pulled = tmp_path / "models" / "someone" / "seer"
    pulled.mkdir(parents=True)
    assert called(pulled) == "local:seer"
    ModelLock(tmp_path / "models").put("someone/seer", LockedModel(None, "abc", None, {}))
    assert called(pulled) == "local:someone/seer"


def test_weights_are_digested_without_loading_and_tell_models_apart(folder: Path, tmp_path: Path) -> None:
    weights = create_engine("local", {"model": str(folder)}, FORM).weights()
    assert all(len(digest) == 64 for digest in weights.values())
    other = tmp_path / "qwen3vl"
    build_qwen3vl(other)
    told = create_engine("local", {"model": str(other)}, FORM).weights()
    assert (told["vlm"] == weights["vlm"], told["words"] == weights["words"]) == (False, True)
    (other / "chat_template.jinja").write_text("another")
    assert create_engine("local", {"model": str(other)}, FORM).weights()["words"] != weights["words"]


def test_the_lock_tells_the_digest_of_what_was_pulled(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "someone" / "seer"
    build_qwen3vl(place)
    unread = create_engine("local", {"model": str(place)}, FORM).weights()
    files = {
        path.name: LockedFile(path.stat().st_size, sha256(path.read_bytes()).hexdigest()) for path in place.iterdir()
    }
    lock = ModelLock(tmp_path)
    lock.put("someone/seer", LockedModel(None, "abc", None, files))
    assert create_engine("local", {"model": str(place)}, FORM).weights() == unread
    lock.put(
        "someone/seer",
        LockedModel(None, "abc", None, files | {"config.json": replace(files["config.json"], sha256="0" * 64)}),
    )
    assert create_engine("local", {"model": str(place)}, FORM).weights()["vlm"] != unread["vlm"]
    with pytest.raises(ModelUnavailable, match=r"config\.json has another digest than told"):
        create_engine("local", {"model": str(place)}, FORM).load("cpu")


def test_a_place_and_a_batch_are_no_part_of_the_recipe_and_a_budget_is(folder: Path, tmp_path: Path) -> None:
    def recipe(**options: Any) -> str:
        return create_engine("local", {"model": str(folder)} | options, FORM).recipe

    (tmp_path / "elsewhere").symlink_to(folder)
    assert recipe() == recipe(batch=9) == recipe(model=str(tmp_path / "elsewhere"))
    assert len({recipe(), recipe(thinking_tokens=9), recipe(temperature=0.5), recipe(answer_tokens=9)}) == 4


def test_a_model_that_is_not_here_is_told_how_to_get(folder: Path) -> None:
    local = create_engine("local", {"model": "nobody/never-made"}, FORM)
    with pytest.raises(ModelUnavailable, match="'nobody/never-made' is not on this machine; run `cliploom models pull"):
        local.load("cpu")
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        local.weights()


def test_a_model_of_another_class_is_refused(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "llava"}))
    with pytest.raises(SettingsError, match="is a llava; the engine local takes qwen3_vl, qwen3_vl_moe"):
        create_engine("local", {"model": str(tmp_path)}, FORM).load("cpu")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "model"),
        ({"model": ""}, "model = ''; give a folder or an id of the model hub"),
        ({"thinking_tokens": -1}, "thinking_tokens = -1; give a whole number from 0 on"),
        ({"answer_tokens": 0}, "answer_tokens = 0; give a whole number from 1 on"),
        ({"top_k": 2.5}, r"top_k = 2\.5; give a whole number from 1 on"),
        ({"batch": True}, "batch = True; give a whole number from 1 on"),
        ({"temperature": 3}, "temperature = 3; give a number from 0 to 2"),
        ({"top_p": "high"}, "top_p = 'high'; give a number from 0 to 1"),
        ({"beams": 4}, "unknown option beams"),
    ],
)
def test_a_wrong_option_is_told_what_is_right(options: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=f"engine local: .*{told}"):
        create_engine("local", {"model": "a/b"} | options if options else {}, FORM)
