"""A tiny HunyuanVideo of random weights, with a byte-level tokenizer under the name that the real base gives it."""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from tests.trainer.families.tiny.parts import TEXT_WIDTH, clip_text, some_videos
from trainer.families.base import Generation

PIPELINE = "HunyuanVideoPipeline"
TEXTS = ("a red disc slides over sand", "a blue disc slides")
HOW = Generation(steps=2, guidance=2.0, width_px=32, height_px=16, n_frames=9)
CROSS_ATTENTION = [
    f"transformer_blocks.{block}.attn.{layer}"
    for block in (0, 1)
    for layer in ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
]
CONDITIONING = [
    "context_embedder.proj_in",
    *(
        f"context_embedder.token_refiner.refiner_blocks.0.attn.{layer}"
        for layer in ("to_q", "to_k", "to_v", "to_out.0")
    ),
    "time_text_embed.text_embedder.linear_1",
    "time_text_embed.text_embedder.linear_2",
    "transformer_blocks.0.norm1_context.linear",
    "transformer_blocks.1.norm1_context.linear",
]
REFINER = "context_embedder.token_refiner.refiner_blocks.0.attn"
COMFYUI = {
    **{
        f"diffusion_model.double_blocks.{i}.{theirs}": [f"transformer_blocks.{i}.{module}" for module in ours]
        for i in (0, 1)
        for theirs, ours in (
            ("txt_attn.qkv", ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
            ("txt_attn.proj", ("attn.to_add_out",)),
            ("txt_mod.lin", ("norm1_context.linear",)),
        )
    },
    "diffusion_model.txt_in.input_embedder": ["context_embedder.proj_in"],
    "diffusion_model.txt_in.individual_token_refiner.blocks.0.self_attn.qkv": [
        f"{REFINER}.to_q",
        f"{REFINER}.to_k",
        f"{REFINER}.to_v",
    ],
    "diffusion_model.txt_in.individual_token_refiner.blocks.0.self_attn.proj": [f"{REFINER}.to_out.0"],
    "diffusion_model.vector_in.in_layer": ["time_text_embed.text_embedder.linear_1"],
    "diffusion_model.vector_in.out_layer": ["time_text_embed.text_embedder.linear_2"],
}


def media() -> np.ndarray:
    """Two videos."""
    return some_videos(2, 9, 16, 32)


def build(folder: Path) -> None:
    """Save the pipeline."""
    torch.manual_seed(0)
    tokenizer = llama_tokenizer()
    tokenizer_2, text_encoder_2 = clip_text(TEXTS)
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    HunyuanVideoPipeline(
        text_encoder=LlamaModel(llama),
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=2,
            num_single_layers=1,
            num_refiner_layers=1,
            text_embed_dim=TEXT_WIDTH,
            pooled_projection_dim=TEXT_WIDTH,
            rope_axes_dim=(4, 6, 6),
        ),
        vae=AutoencoderKLHunyuanVideo(
            latent_channels=4,
            block_out_channels=(4, 4, 4, 8),
            layers_per_block=1,
            norm_num_groups=2,
        ),
        # The real base's shift is 7.
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.5),
    ).save_pretrained(folder)
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"tokenizer": ["transformers", "LlamaTokenizerFast"]}))


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """Llama 3's kind of tokenizer over the words of the instruction and the texts."""
    begin, end, pad = "<|begin_of_text|>", "<|eot_id|>", "<pad>"
    special = [begin, end, pad, "<|start_header_id|>", "<|end_header_id|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    learnt = trainers.BpeTrainer(vocab_size=800, special_tokens=special, initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator([DEFAULT_PROMPT_TEMPLATE["template"], *TEXTS], learnt)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin, eos_token=end, pad_token=pad, padding_side="right"
    )
