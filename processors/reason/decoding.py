"""Writing answers with a Qwen3-VL, several at a time, each held to a grammar once its thinking is over.

`generate` of transformers is not used: what a grammar leaves no choice in (the keys of a JSON object, most of its
punctuation) is fed in one pass instead of token by token, which its loop has no place for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen. temperature: 0 takes the likeliest, always.

    top_k, top_p: only among that many of the likeliest, and of these only until they hold that probability together
    (Holtzman et al. 2020).
    """

    temperature: float
    top_k: int
    top_p: float


@dataclass(frozen=True)
class Marks:
    """Tokens that end a phase. ends: of an answer. close: of thinking. close_after: what follows `close`.

    close_short: what ends a thinking that did not end by itself.
    """

    ends: frozenset[int]
    close: int | None
    close_after: tuple[int, ...]
    close_short: tuple[int, ...]


class Writer:
    """One answer in the making: thinking as it comes, then text that the grammar allows.

    Args:
        matcher: the grammar's, at its start; this writer's own.
        thinking_tokens: most tokens of thinking; 0: it begins with the answer.
        answer_tokens: an answer that is not complete with so many is cut off.

    Attributes:
        thinking, answer: tokens so far. n_tokens: all, with those that closed the thinking.
        done: it needs no more. problem: why there is no answer then; None: it is complete.
    """

    def __init__(self, matcher: LLMatcher, seed: int, marks: Marks, thinking_tokens: int, answer_tokens: int) -> None:
        self.thinking: list[int] = []
        self.answer: list[int] = []
        self.n_tokens = 0
        self.done = False
        self.problem: str | None = None
        self._thinks = thinking_tokens > 0
        self._matcher = matcher
        self._marks = marks
        self._thinking_tokens = thinking_tokens
        self._answer_tokens = answer_tokens
        self._random = torch.Generator().manual_seed(seed)

    def draw(self) -> float:
        """The next number of this answer's own, uniform in [0, 1): what is drawn hangs on nothing beside it."""
        return float(torch.rand((), generator=self._random, dtype=torch.float32))

    def allowed(self, n_vocab: int) -> np.ndarray | None:
        """Which tokens may come next, bool [n_vocab]; None: any."""
        if self._thinks:
            return None
        if forced := self._matcher.compute_ff_tokens():
            only = np.zeros(n_vocab, bool)
            only[forced[0]] = True
            return only
        packed = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(packed, count=n_vocab, bitorder="little").astype(bool)

    def take(self, token: int) -> list[int]:
        """Go on with `token`; give it and all that must follow it."""
        taken = self._think(token) if self._thinks else self._write(token)
        self.n_tokens += len(taken)
        return taken

    def _think(self, token: int) -> list[int]:
        if token == self._marks.close:
            self._thinks = False
            return [token, *self._marks.close_after]
        if token in self._marks.ends:
            self._thinks = False
            return [*self._marks.close_short]
        self.thinking.append(token)
        self._thinks = len(self.thinking) < self._thinking_tokens
        return [token] if self._thinks else [token, *self._marks.close_short]

    def _write(self, token: int) -> list[int]:
        if token in self._marks.ends:
            self.done = True
            return [token]
        written = [token]
        if self._matcher.consume_token(token) and not self._matcher.is_stopped():
            forced = self._matcher.compute_ff_tokens()
            self._matcher.consume_tokens(forced)
            written += forced
        self.answer += written
        if self._matcher.is_error():
            self.problem = f"the grammar could not go on: {self._matcher.get_error()}"[:500]
        elif not self._matcher.is_stopped() and len(self.answer) >= self._answer_tokens:
            self.problem = f"the answer was cut off after {len(self.answer)} tokens; raise answer_tokens"
        self.done = self._matcher.is_stopped() or self.problem is not None
        return written


class Passage:
    """What a Qwen3-VL has read so far of several texts with pictures: its keys and values, row by row.

    Rows may be fed different numbers of tokens: shorter ones are padded on their left, and the holes that this leaves
    among keys and values are masked, and counted in no position.

    Args:
        inputs: what the model's processor made of the texts, padded on the left.
    """

    @torch.inference_mode()
    def __init__(self, model: Any, inputs: Mapping[str, torch.Tensor], pad: int) -> None:
        self._model = model
        self._pad = pad
        self._mask = inputs["attention_mask"]
        pictures = {name: inputs[name] for name in ("pixel_values", "image_grid_thw") if name in inputs}
        positions, self._position_gaps = model.model.get_rope_index(
            inputs["input_ids"],
            inputs["mm_token_type_ids"],
            image_grid_thw=pictures.get("image_grid_thw"),
            attention_mask=self._mask,
        )
        self._cache: Any = None
        self.scores = self._forward(inputs["input_ids"], positions, pictures)
        """Of the token that comes next, float32 [rows, vocabulary]."""

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these."""
        kept = torch.tensor(rows, device=self._mask.device)
        self._cache.batch_select_indices(kept)
        self._mask, self._position_gaps = self._mask[kept], self._position_gaps[kept]

    @torch.inference_mode()
    def feed(self, tokens: Sequence[Sequence[int]]) -> None:
        """Read on: each row its own tokens, at least one."""
        width = max(len(row) for row in tokens)
        padded = [[self._pad] * (width - len(row)) + list(row) for row in tokens]
        shown = [[0] * (width - len(row)) + [1] * len(row) for row in tokens]
        device = self._mask.device
        self._mask = torch.cat([self._mask, torch.tensor(shown, device=device, dtype=self._mask.dtype)], dim=1)
        counted = (self._mask.cumsum(dim=1) - 1)[:, -width:] + self._position_gaps
        self.scores = self._forward(torch.tensor(padded, device=device), counted.expand(3, -1, -1), {})

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, pictures: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """Positions: int64 [3, rows, tokens], of time, height and width (see the model's `get_rope_index`)."""
        read = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
            **pictures,
        )
        self._cache = read.past_key_values
        return read.logits[:, -1].float()


@torch.inference_mode()
def chosen(scores: torch.Tensor, writers: Sequence[Writer], sampling: Sampling) -> list[int]:
    """The next token of each writer.

    Args:
        scores: float32 [writers, vocabulary].
    """
    n_vocab = scores.shape[1]
    allowed = [writer.allowed(n_vocab) for writer in writers]
    if any(each is not None for each in allowed):
        masks = np.stack([np.ones(n_vocab, bool) if each is None else each for each in allowed])
        scores = scores.masked_fill(~torch.from_numpy(masks).to(scores.device), -torch.inf)
    if sampling.temperature == 0:
        return scores.argmax(dim=1).tolist()
    best = scores.topk(min(sampling.top_k, n_vocab), dim=1)
    odds = torch.softmax(best.values.double() / sampling.temperature, dim=1)
    odds = odds.masked_fill(odds.cumsum(dim=1) - odds >= sampling.top_p, 0.0)
    reached = odds.cumsum(dim=1)
    drawn = torch.tensor([[writer.draw()] for writer in writers], dtype=torch.float64, device=scores.device)
    places = (reached > drawn * reached[:, -1:]).int().argmax(dim=1, keepdim=True)
    return best.indices.gather(1, places).squeeze(1).tolist()
