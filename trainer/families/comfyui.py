"""What ComfyUI calls the modules that adapters are on, and how its adapter files write them.

It finds a layer of its model by name, whatever the family (`model_lora_keys_unet` of its `comfy/lora.py`), and passes
over what it does not know with a line in its log.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a module is in ComfyUI's model.

    layer: as adapter files name it. part, of: the module's rows are the `part`-th of so many modules' in that layer.
    """

    layer: str
    part: int = 0
    of: int = 1


@dataclass(frozen=True)
class ComfyLayout:
    """How ComfyUI reads a family's adapters.

    names: regular expression over names of modules, matched whole, to ComfyUI's name, with references to its groups. A
    layer that holds several modules below each other is named after them: `attn.qkv:k` is the second third of its rows.
    prefix: of each name in a file. is_kohya: names have no dots but underscores, matrices are `lora_down` and
    `lora_up`, and alpha is told, as kohya's sd-scripts write it; else they are `lora_A` and `lora_B`, and B is scaled.
    """

    names: Mapping[str, str]
    prefix: str = "diffusion_model."
    is_kohya: bool = False

    def place(self, module: str) -> Place | None:
        """Where a module of the denoiser is; None where ComfyUI has none such."""
        for pattern, name in self.names.items():
            if found := re.fullmatch(pattern, module):
                layer, _, part = found.expand(name).partition(":")
                held = re.split("[._]", layer)[-1] if part else ""
                layer = self.prefix + (layer.replace(".", "_") if self.is_kohya else layer)
                return Place(layer, held.index(part), len(held)) if part else Place(layer)
        return None
