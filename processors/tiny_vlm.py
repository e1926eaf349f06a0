"""A tiny vision-language model of the class Qwen3-VL with random weights, for `processors.tiny`.

It thinks before it answers, as the Thinking models do, and means nothing by either.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import (
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<think>",
    "</think>",
)
"""Tokens that Qwen has beside its bytes and merges."""
_TEMPLATE = """
{%- for message in messages -%}
<|im_start|>{{ message.role + '\\n' }}
{%- for part in ([{'type': 'text', 'text': message.content}] if message.content is string else message.content) -%}
{{ '<|vision_start|><|image_pad|><|vision_end|>' if part.type == 'image' else part.text }}
{%- endfor -%}
<|im_end|>{{ '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant{{ '\\n<think>\\n' }}
{%- endif -%}
""".strip()
_SAMPLE = """
{"present":[{"kind":"person","what":"a person","count":1,"evidence":{"frames":[1,2],"facts":["people","faces"]}}],
"events":[{"kind":"moves","what":"the hand","start_ms":100,"end_ms":2000,"evidence":{"frames":[],"facts":["motion"]}}],
"findings":{"pose":{"readings":[{"term":"sitting","pct":70},{"term":"standing","pct":20}],"evidence":{"frames":[1],
"facts":["pose"]}},"light":{"readings":[],"evidence":{"frames":[],"facts":[]}}},"signals":[{"level_pct":50,"course":
"rising","confidence_pct":60,"evidence":{"frames":[],"facts":["sound","voice"]},"name":"loudness"}],"feeling":{"valence":
{"negative_pct":10,"neutral_pct":60,"positive_pct":30},"arousal":null},"caption":"A person is sitting in a room."}
The numbered frames are from one clip, at these times, where something changes. What was measured beside them, and the
slots with the terms that may fill them: answer in English with one object in the given form and nothing else.
"""
"""Text that the tokenizer is trained on, so that a question has a few hundred tokens and not thousands."""
_N_MERGES = 256
"""Chosen: a third of the tokens that single bytes would be."""
_SPREAD = 0.2
"""Chosen: with 0.02, the class's own, answers hardly depend on the pictures."""


def build_qwen3vl(folder: Path) -> None:
    tokenizer = _tokenizer()
    pictures: dict[str, Any] = {"patch_size": 16, "merge_size": 2, "temporal_patch_size": 2}
    processor: Any = Qwen3VLProcessor
    processor(
        Qwen2VLImageProcessor(size={"shortest_edge": 32 * 32, "longest_edge": 96 * 96}, **pictures),
        tokenizer,
        Qwen3VLVideoProcessor(**pictures),
        chat_template=_TEMPLATE,
    ).save_pretrained(folder)
    Qwen3VLForConditionalGeneration(_config(tokenizer)).save_pretrained(folder)


def _tokenizer() -> Qwen2Tokenizer:
    """Byte-level BPE with Qwen's own way of cutting text into words."""
    trained = Tokenizer(BPE())
    trained.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    alphabet = sorted(ByteLevel.alphabet())
    n_tokens = len(alphabet) + _N_MERGES
    trained.train_from_iterator(
        [_SAMPLE], BpeTrainer(vocab_size=n_tokens, initial_alphabet=alphabet, show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    merges: Any = [tuple(pair) for pair in model["merges"]]
    return Qwen2Tokenizer(
        model["vocab"],
        merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=list(SPECIAL),
    )


def _config(tokenizer: Qwen2Tokenizer) -> Qwen3VLConfig:
    """With one layer, where an answer takes a tenth of a second on a CPU; with two it took twice that."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 32_768,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [4, 2, 2],
            "mrope_interleaved": True,
        },
        "initializer_range": _SPREAD,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "num_position_embeddings": 36,
        "deepstack_visual_indexes": [0],
        "initializer_range": _SPREAD,
    }
    marks = ("image_pad", "video_pad", "vision_start", "vision_end")
    image, video, start, end = (tokenizer.get_vocab()[f"<|{mark}|>"] for mark in marks)
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
