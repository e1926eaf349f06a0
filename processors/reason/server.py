"""Options of the engine `endpoint`: where a server of chat completions is, what is asked of it, and for how long."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

import httpx

from processors.base import NOT_IN_RECIPE

Form = Literal["json_schema", "json_object", "text"]
FORMS: tuple[Form, ...] = ("json_schema", "json_object", "text")
"""How the schema is asked for, the strictest first: decoding that is held to it, any JSON, or words alone."""

_OURS = frozenset(
    {
        "messages",
        "model",
        "n",
        "response_format",
        "seed",
        "stream",
        "stream_options",
        "temperature",
        "max_tokens",
        "max_completion_tokens",
    }
)
"""Fields of a request that are not given as extra ones."""


@dataclass(frozen=True)
class EndpointOptions:
    """url: up to and with `/v1`. model: as the server names it. key: bearer token, where one is wanted; whoever reads
    the environment fills it in. proxy: URL of an HTTP proxy.

    form: how strictly the schema is asked for first; see `FORMS`.
    thinking_tokens, answer_tokens: an answer is cut off after both together. Random traces have about 1,100 tokens in
    the median, and the largest that the schema allows about 2,700 (by CLIP's tokenizer).
    temperature: None leaves it to the server (vLLM and SGLang take the model's own).
    extra: further fields of a request, such as `chat_template_kwargs`.

    concurrency: most requests at once. timeout_s: for the connection, the first byte, and between bytes.
    answer_s: for a whole answer. attempts: for a question that fails, and for a server that is away.
    prompt_price, answer_price: of a million tokens, in any currency.
    """

    url: str = field(default="", metadata=NOT_IN_RECIPE)
    model: str = ""
    key: str = field(default="", repr=False, metadata=NOT_IN_RECIPE)
    proxy: str = field(default="", repr=False, metadata=NOT_IN_RECIPE)
    form: Form = "json_schema"
    thinking_tokens: int = 4096
    answer_tokens: int = 3072
    temperature: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = field(default=8, metadata=NOT_IN_RECIPE)
    timeout_s: float = field(default=120.0, metadata=NOT_IN_RECIPE)
    answer_s: float = field(default=600.0, metadata=NOT_IN_RECIPE)
    attempts: int = field(default=5, metadata=NOT_IN_RECIPE)
    prompt_price: float | None = field(default=None, metadata=NOT_IN_RECIPE)
    answer_price: float | None = field(default=None, metadata=NOT_IN_RECIPE)

    def __post_init__(self) -> None:
        _check_url(self.url)
        if self.proxy and not str(self.proxy).startswith(("http://", "https://")):
            raise ValueError("proxy is none; write the URL of an HTTP proxy, or leave it out")
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(f"model is {self.model!r}; write the name that the server lists at {self.url}/models")
        if not isinstance(self.key, str) or not self.key.isascii() or not self.key.isprintable() or " " in self.key:
            raise ValueError("key is no bearer token: it holds a space, a line break or what is not ASCII")
        if self.form not in FORMS:
            raise ValueError(f"form is {self.form!r}; choose one of {', '.join(FORMS)}")
        for name, least in (("concurrency", 1), ("attempts", 1), ("thinking_tokens", 0), ("answer_tokens", 1)):
            if type(value := getattr(self, name)) is not int or value < least:
                raise ValueError(f"{name} is {value!r}; write a whole number from {least} on")
        for name in ("timeout_s", "answer_s"):
            if not _is_number(value := getattr(self, name)) or not 0.0 < value < float("inf"):
                raise ValueError(f"{name} is {value!r}; write seconds above 0")
        if self.temperature is not None and not (_is_number(self.temperature) and 0.0 <= self.temperature <= 2.0):
            raise ValueError(f"temperature is {self.temperature!r}; write a number from 0 to 2, or leave it out")
        prices = [self.prompt_price, self.answer_price]
        if prices != [None, None] and not all(_is_number(price) and price >= 0.0 for price in prices):
            raise ValueError(f"prompt_price and answer_price are {prices}; write both for a million tokens, or neither")
        _check_extra(self.extra)

    @property
    def address(self) -> str:
        """What is asked."""
        return f"{self.url.rstrip('/')}/chat/completions"

    @property
    def most_tokens(self) -> int:
        """Of an answer, thinking among them."""
        return self.thinking_tokens + self.answer_tokens

    def client(self) -> httpx.AsyncClient:
        """A client that takes nothing from the environment; see `processors.reason.endpoint`."""
        return httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self.key}"} if self.key else {},
            proxy=self.proxy or None,
            trust_env=False,
            limits=httpx.Limits(max_connections=self.concurrency),
        )

    def unsaid(self, words: str) -> str:
        """Words without the key, which some servers repeat."""
        return words.replace(self.key, "***") if self.key else words

    def cost(self, prompt_tokens: int | None, answer_tokens: int | None) -> float | None:
        """What so many tokens cost; None where nobody counted or no price is known."""
        if prompt_tokens is None or answer_tokens is None or self.prompt_price is None or self.answer_price is None:
            return None
        return (prompt_tokens * self.prompt_price + answer_tokens * self.answer_price) / 1e6


def _check_url(url: Any) -> None:
    example = "write it up to the version, such as http://127.0.0.1:8000/v1"
    try:
        parsed = httpx.URL(url)
    except (TypeError, httpx.InvalidURL) as error:
        raise ValueError(f"url is {url!r}, which is none ({error}); {example}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"url is {url!r}; {example}")
    if parsed.userinfo:
        raise ValueError("url holds a user or a password; give the key as `key`")
    if parsed.query or parsed.fragment or parsed.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError(f"url is {url!r}; {example}")


def _check_extra(extra: Any) -> None:
    if not isinstance(extra, Mapping):
        raise ValueError(f"extra is {extra!r}; write a table of fields")
    if ours := sorted(_OURS & set(extra)):
        raise ValueError(f"extra holds {', '.join(ours)}, which the engine sets itself; use its options")
    try:
        json.dumps(extra, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"extra is no JSON: {error}") from error


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float)
