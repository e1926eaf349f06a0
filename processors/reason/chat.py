"""The chat-completions protocol: what is sent for a question, and what an answer means.

https://platform.openai.com/docs/api-reference/chat; vLLM, SGLang and llama.cpp's server speak it, each with exceptions,
which are named where they are allowed for.
"""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from processors.reason.engine import Answer, NoAnswer, Question, Usage
from processors.reason.server import FORMS, EndpointOptions, Form
from store.records import Json

LONGEST_WORDS = 300
"""Characters of a server's message that a person is shown; chosen."""
_LONGEST_READ = 4000
"""Characters of it that are looked through for what was refused; chosen."""

_TOO_LONG = re.compile(r"context[ _-]?(length|window|size)", re.I)
_FORM = re.compile(r"response_format|schema|grammar|structured output|guided|json_object|json mode", re.I)
_STREAM = re.compile(r"\bstreaming\b|\bto stream\b|['\"`]stream['\"`]|^stream:|body\.stream\b", re.I)
_LIMIT = re.compile(r"max_completion_tokens\W{0,3} instead|unsupported\W.*\bmax_tokens\b", re.I)
_THINKING = re.compile(r"\s*(?:<think>)?(.*?)</think>\s*(.*)", re.S)


class Refused(Exception):
    """The server will not take this request. status: HTTP's. words: its own."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"{status}: {words}")
        self.status, self.words = status, words


class Away(Exception):
    """No request can be served now: no connection, too many requests, overload. wait_s: as the server asks."""

    def __init__(self, words: str, wait_s: float | None = None) -> None:
        super().__init__(words)
        self.wait_s = wait_s


class Broken(Exception):
    """This request came to nothing, and may do so again or not: an error, a time-out, an answer that broke off."""


@dataclass(frozen=True)
class Manner:
    """How this server is asked. Begins as the protocol says, and leaves out what the server refuses.

    counts: usage is asked for within the stream. limit: the field that bounds an answer. `max_tokens` is what vLLM,
    SGLang and llama.cpp all take; OpenAI's reasoning models take only `max_completion_tokens`.
    """

    form: Form = "json_schema"
    streams: bool = True
    counts: bool = True
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    def without(self, refused: Refused) -> "Manner | None":
        """The manner that does without what was refused; None where it is the question itself."""
        words = refused.words
        if refused.status not in (400, 422, 501) or _TOO_LONG.search(words):
            return None
        if self.streams and self.counts and "stream_options" in words:
            return replace(self, counts=False)
        # Before the form: "response_format does not support streaming" (Groq).
        if self.streams and _STREAM.search(words):
            return replace(self, streams=False)
        if self.limit == "max_tokens" and _LIMIT.search(words):
            return replace(self, limit="max_completion_tokens")
        if self.form != "text" and _FORM.search(words):
            return replace(self, form=FORMS[FORMS.index(self.form) + 1])
        return None


def request(question: Question, options: EndpointOptions, schema: Json, manner: Manner) -> Json:
    """The body that asks a question. Where decoding is not held to the schema, the text ends with it."""
    parts: list[Json] = []
    for picture in question.pictures:
        data = base64.b64encode(picture.jpeg).decode()
        parts.append({"type": "text", "text": f"Frame {picture.number} at {picture.time_s:.2f} s:"})
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}})
    told = "" if manner.form == "json_schema" else f"\n\nThe form, as JSON Schema:\n{_compact(schema)}"
    parts.append({"type": "text", "text": question.text + told})
    body: Json = {
        "model": options.model,
        "messages": [{"role": "system", "content": question.system}, {"role": "user", "content": parts}],
        "seed": question.seed,
        manner.limit: options.most_tokens,
    }
    if options.temperature is not None:
        body["temperature"] = options.temperature
    if manner.form == "json_schema":
        held_to = {"name": "trace", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": held_to}
    elif manner.form == "json_object":
        body["response_format"] = {"type": "json_object"}
    if manner.streams:
        body |= {"stream": True} | ({"stream_options": {"include_usage": True}} if manner.counts else {})
    return body | dict(options.extra)


def trial(options: EndpointOptions, manner: Manner) -> Json:
    """The body of the least question there is, asked in the same manner: who answers it is there for everyone."""
    messages = [{"role": "user", "content": "Say yes."}]
    body: Json = {"model": options.model, "messages": messages, manner.limit: 16}
    return body | ({"stream": True} if manner.streams else {}) | dict(options.extra)


class _Said(BaseModel):
    content: str | None = None
    reasoning: str | None = None  # vLLM from 0.17 on
    reasoning_content: str | None = None  # vLLM before it, SGLang, llama.cpp
    refusal: str | None = None


class _Choice(BaseModel):
    delta: _Said | None = None  # of a stream
    message: _Said | None = None  # of a whole answer
    finish_reason: str | None = None


class _Tokens(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Part(BaseModel):
    choices: list[_Choice] | None = None
    usage: _Tokens | None = None
    error: Any = None


class Reply:
    """An answer as it comes, whole or part by part.

    finished: it is complete, though its usage may still come. closed: nothing follows.
    """

    def __init__(self, unsaid: Callable[[str], str]) -> None:
        """unsaid: takes secrets out of what is told of a fault."""
        self._unsaid = unsaid
        self.finished = False
        self.closed = False
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._refusal: list[str] = []
        self._finish: str | None = None
        self._tokens = _Tokens()

    def take(self, data: str) -> None:
        """Add a part of the stream, or the whole.

        Raises:
            Broken: it is none, or the server tells of a fault.
            Refused, Away: as the status that a fault in the midst of a stream names (vLLM, SGLang).
        """
        if data == "[DONE]":
            self.finished = self.closed = True
            return
        try:
            part = _Part.model_validate_json(data)
        except ValidationError as error:
            raise Broken(f"sent no chat completion: {self._unsaid(words_of(data))}") from error
        if part.error is not None:
            code = part.error.get("code") if isinstance(part.error, dict) else None
            raise fault(code if isinstance(code, int) else 500, self._unsaid(words_of(data)))
        if part.choices is None and part.usage is None:
            raise Broken(f"sent no chat completion: {self._unsaid(words_of(data))}")
        self._tokens = part.usage or self._tokens
        for choice in (part.choices or [])[:1]:
            if (said := choice.delta or choice.message) is not None:
                self._content.append(said.content or "")
                self._thinking.append(said.reasoning or said.reasoning_content or "")
                self._refusal.append(said.refusal or "")
            if choice.finish_reason in ("abort", "error"):  # SGLang and vLLM, OpenRouter
                raise Broken(f"ended the answer itself ({choice.finish_reason})")
            if choice.finish_reason is not None:
                self._finish, self.finished = choice.finish_reason, True

    @property
    def tokens(self) -> tuple[int | None, int | None]:
        """Of the prompt and of the answer, as the server counts them."""
        return self._tokens.prompt_tokens, self._tokens.completion_tokens

    def outcome(self, usage: Usage, most_tokens: int) -> Answer | NoAnswer:
        """What it means."""
        if self._finish == "length":
            return NoAnswer(f"cut off after {usage.answer_tokens or most_tokens} tokens", usage)
        refusal = "".join(self._refusal).strip()
        if self._finish == "content_filter" or refusal:
            return NoAnswer(f"refused: {brief(refusal) or 'by a content filter'}", usage)
        thinking, text = _parted("".join(self._thinking), "".join(self._content))
        if text:
            return Answer(text, thinking, usage)
        thought = f", but thought {len(thinking)} characters" if thinking else ""
        return NoAnswer(f"said nothing{thought}", usage)


def _parted(thinking: str, content: str) -> tuple[str, str]:
    """Thinking and answer, where a server leaves the one in the other's place."""
    content = content.strip()
    if not content.startswith("{") and (match := _THINKING.fullmatch(content)):
        # The opening tag is missing where the model's template writes it into the prompt (DeepSeek-R1, QwQ).
        thinking, content = thinking + match[1].strip(), match[2]
    elif content.startswith("<think>"):
        thinking, content = thinking + content.removeprefix("<think>").strip(), ""
    bare = thinking.strip()
    if not content and bare.startswith("{") and bare.endswith("}"):
        # Constrained decoding leaves no room for `</think>`, and the parser takes all for thinking (sglang #14821).
        return "", bare
    return thinking, content


def fault(status: int, words: str, wait_s: float | None = None) -> Exception:
    """What a status means: for everyone, for this question, or for this try."""
    if status == 429 and "request too large" in words.lower():  # OpenAI: for its rate at any time
        return Refused(413, words)
    if status in (429, 503):
        return Away(f"{status}: {words}", wait_s)
    if status in (408, 409, 425) or (status >= 500 and status != 501):
        return Broken(f"{status}: {words}")
    return Refused(status, words)


def words_of(body: str) -> str:
    """What a server says in an error's body, on one line."""
    text = body
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, dict):
        told = next((told[key] for key in ("error", "message", "detail") if told.get(key)), told)
        if isinstance(told, dict):
            named = told.get("param")
            told = told.get("message") or _compact(told)
            told = f"{named}: {told}" if isinstance(named, str) and named not in told else told
        elif isinstance(told, list):  # FastAPI's: what it was sent is left out
            told = "; ".join(_complaint(one) for one in told)
        text = str(told)
    return " ".join(text.split())[:_LONGEST_READ]


def brief(words: str) -> str:
    """As much of a server's words as a person is shown."""
    words = " ".join(words.split())
    return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}…"


def _complaint(one: Any) -> str:
    if not isinstance(one, dict):
        return str(one)
    return f"{'.'.join(str(part) for part in one.get('loc', ()))}: {one.get('msg')}"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
