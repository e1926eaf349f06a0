"""The texts' half of SigLIP 2: the vector of a text, in the space of the column `visual_text`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, SiglipTextModel

from store.errors import ModelUnavailable


class TextTower(SiglipTextModel):
    """The text half of a `SiglipModel`'s weights; the other half is passed over without a warning."""

    _keys_to_ignore_on_load_unexpected = [r"^vision_model\.", r"^logit_"]  # noqa: RUF012  as transformers declares it


class TextEncoder:
    """Embeds texts by the model in a folder, of which `vision.siglip` embeds the pictures.

    Raises:
        ModelUnavailable: the folder lacks the tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "tokenizer.json").is_file():
            raise ModelUnavailable(f"folder {folder} holds no tokenizer.json; download the model again, whole")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = TextTower.from_pretrained(folder, local_files_only=True)
        self._model = model.eval()

    @torch.inference_mode()
    def encode(self, text: str) -> np.ndarray:
        """The text's vector, float64 [size] of unit length; what is beyond 64 tokens does not count."""
        # As in training (Tschannen et al. 2025): lower case, which the tokenizer's files leave out, and padded to the
        # full length, since the model attends to the padding too.
        length = self._model.config.max_position_embeddings
        tokens = self._tokenizer(
            text.lower(), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        pooled = self._model(input_ids=tokens["input_ids"]).pooler_output
        return torch.nn.functional.normalize(pooled[0].double(), dim=0).numpy()
