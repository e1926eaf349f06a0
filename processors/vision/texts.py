"""Texts in the space of what clips show, by the model that the profile embeds pictures with."""

from collections.abc import Callable
from pathlib import Path

from processors.pretrained import model_folder
from processors.profile import processor_options
from store.errors import InputError


def text_encoder(profile: str, models: Path) -> Callable[[str], list[float]]:
    """What gives the vector of a text, in the space of the column `visual_text`.

    Args:
        profile: name of a model profile, or path to a TOML file. models: folder of local models.

    Raises:
        InputError: the profile has no such model.
        ModelUnavailable: it is not on this machine.
    """
    options = processor_options(profile, "vision.siglip", models)
    if options is None:
        raise InputError(
            f"profile {profile} has no vision.siglip, so no text can be compared with what clips show; start the"
            " service with --profile pretrained, or search the conditioning strings with text="
        )
    folder = model_folder(options["model"], options.get("revision"))
    # Here, because they take seconds, and a refusal does not need them.
    import torch

    from processors.vision.siglip_text import TextEncoder

    torch.set_num_threads(1)
    encoder = TextEncoder(folder)
    return lambda text: encoder.encode(text).tolist()
