"""wav2vec 2.0 and HuBERT as encoders of a clip's sound: one way to choose layers, pool and cut for both.

No processor of its own.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import Wav2Vec2FeatureExtractor

from processors.base import NOT_IN_RECIPE, DecodedClip
from processors.pretrained import check_size, model_folder, weights_digest
from store.errors import SettingsError
from store.records import Column

LEAST_S = 0.1
"""Chosen: the models' receptive field is 25 ms; less than four of them say nothing."""
MOST_S = 10.0
"""Chosen: attention over 500 frames at once; a longer clip is cut into equal parts of at most this."""
SILENT_RMS = 10.0 ** (-60.0 / 20.0)
"""Chosen, as in audio.logmel: the feature extractor would amplify silence to full loudness."""
POOLINGS = {"mean": 1, "mean_std": 2, "max": 1}
"""Pooling over time to the length of its vector in hidden sizes."""


@dataclass(frozen=True)
class Options:
    """Which model, and how its hidden states become a vector.

    model: a folder or a Hugging Face id; size: length of the vector.
    layers: indices of hidden states, 0 for what goes into the first layer, -1 for the last layer's; none: all.
    layer_weights: a weight for each of `layers`; none: all the same. Paralinguistic tasks are served best by a weighted
        mean over all layers, the last being among the worst (Pepino et al. 2021 for emotion; Yang et al. 2021, SUPERB).
    pooling: `mean`; `mean_std`, twice as long, adds the deviation over time; `max`.
    """

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    size: int = 768
    layers: tuple[int, ...] = ()
    layer_weights: tuple[float, ...] = ()
    pooling: str = "mean"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise SettingsError(
                f"pooling {self.pooling!r} of {self.model!r} is not known; choose {', '.join(POOLINGS)}"
            )
        if self.layer_weights and len(self.layer_weights) != len(self.layers):
            raise SettingsError(
                f"{self.model!r} has {len(self.layer_weights)} layer_weights for {len(self.layers)} layers; "
                "give one for each of layers"
            )


def vector_column(name: str, options: Options, model_source: str) -> Column:
    """The column of the vectors that an `Encoder` with these options gives."""
    layers = f"layers {list(options.layers)}" if options.layers else "all layers"
    source = f"{model_source}, {options.pooling} over time of the mean of {layers}, unit length"
    return Column(name=name, kind="vector", low=-1.0, high=1.0, size=options.size, measured=False, source=source)


class Encoder:
    """A loaded model of `model_class`, such as `Wav2Vec2Model`, with its feature extractor."""

    def __init__(self, model_class: type[Any], options: Options, device: str) -> None:
        folder = model_folder(options.model, options.revision)
        self._extract = Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
        model: Any = model_class.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()
        self._options = options
        self.digest = weights_digest(folder)
        check_size(options.model, POOLINGS[options.pooling] * self._model.config.hidden_size, options.size)
        n_states = self._model.config.num_hidden_layers + 1
        if beyond := [layer for layer in options.layers if not -n_states <= layer < n_states]:
            raise SettingsError(f"model {options.model!r} has hidden states 0 to {n_states - 1}, not {beyond}")

    @torch.inference_mode()
    def embedded(self, clip: DecodedClip) -> np.ndarray | None:
        """Vector float64 [size] of unit length; None without sound, for silence and for less than `LEAST_S`.

        One clip at a time: padding to a common length would let one clip change another's numbers.
        """
        audio, rate_hz = clip.audio, clip.audio_rate_hz
        if audio is None or len(audio) < LEAST_S * rate_hz or np.sqrt(np.mean(audio**2)) < SILENT_RMS:
            return None
        values = self._extract(audio, sampling_rate=rate_hz, return_tensors="pt")["input_values"][0]
        n_parts = -(-len(values) // round(MOST_S * rate_hz))
        hidden = torch.cat([self._hidden(part) for part in values.tensor_split(n_parts)])
        return torch.nn.functional.normalize(self._pooled(hidden), dim=0).cpu().numpy()

    def _hidden(self, values: torch.Tensor) -> torch.Tensor:
        """The weighted mean over layers, float64 [T, hidden size], of float32 [N] samples."""
        states = self._model(values[None].to(self._model.device), output_hidden_states=True).hidden_states
        layers = self._options.layers or range(len(states))
        weights = torch.tensor(self._options.layer_weights or [1.0] * len(layers), dtype=torch.float64)
        chosen = torch.stack([states[layer][0].double() for layer in layers])
        return torch.tensordot((weights / weights.sum()).to(chosen.device), chosen, dims=1)

    def _pooled(self, hidden: torch.Tensor) -> torch.Tensor:
        if self._options.pooling == "max":
            return hidden.amax(dim=0)
        mean = hidden.mean(dim=0)
        return mean if self._options.pooling == "mean" else torch.cat([mean, hidden.std(dim=0, correction=0)])
