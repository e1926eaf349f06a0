"""The model card of an adapter: what it is, what it descends from, how it did, what it is not for."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import diffusers

from store.records import Json, TrainingRequested
from trainer.adapters import ADAPTER_FILE
from trainer.bases import SMALL_LABEL
from trainer.dataset import TrainingClip
from trainer.exports import COMFY_FILE
from trainer.lora import Parent

BY_PEFT = """import json

from diffusers import {pipeline}
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open

pipeline = {pipeline}.from_pretrained(base_folder)
with safe_open(f"{{folder}}/{file}", "pt") as file:
    told = json.loads(file.metadata()["lora_adapter_metadata"])
    weights = {{name.removeprefix("{denoiser}."): file.get_tensor(name) for name in file.keys()}}
config = LoraConfig(**{{name.removeprefix("{denoiser}."): value for name, value in told.items()}})
inject_adapter_in_model(config, pipeline.{denoiser})
set_peft_model_state_dict(pipeline.{denoiser}, weights)"""


@dataclass(frozen=True)
class Lineage:
    """What a run's result descends from, beyond the request itself.

    definition: of the concept. recipe: of its membership (`ConceptChanged.recipe`). snapshot: the newest that
    publishes every member, as `tag`, `digest` and `table_version`. parent: files of the run that
    `TrainingRequested.parent` names.
    """

    definition: Json
    recipe: str
    snapshot: Json | None
    parent: Parent | None
    trained_at: datetime


def write_card(
    path: Path, request: TrainingRequested, lineage: Lineage, members: Sequence[TrainingClip], metrics: Json
) -> Path:
    """Write the card as Markdown."""
    sections = (
        _heading(request, metrics),
        _files(metrics),
        _lineage(request, lineage, metrics),
        _footage(members),
        _measured(metrics),
        _settings(metrics),
        _limits(metrics),
    )
    path.write_text("\n".join(sections))
    return path


def _heading(request: TrainingRequested, metrics: Json) -> str:
    trigger = (
        f"Trigger word: **{request.token}**. Every text that it was trained on begins with it; begin yours with"
        f" `{request.token}, `.\n\n"
        if request.token
        else ""
    )
    also = " and conditioning pathway" if metrics["settings"]["targets"] == "conditioning" else ""
    return f"""# LoRA of {request.concept}, stage {request.stage}

Low-rank adapter on the cross-attention{also} of **{metrics["base_label"]}** (`{metrics["base"]}`).

{trigger}`report.html` tells how it did, with samples of the base and the adapter from the same seeds.
"""


def _files(metrics: Json) -> str:
    return f"""## Files

`{ADAPTER_FILE}`, for diffusers:

```python
{loading(metrics)}
```

{_comfyui(metrics)}
"""


def _comfyui(metrics: Json) -> str:
    if COMFY_FILE not in metrics["exports"]:
        return "There is no file for ComfyUI, which has no such model."
    base = (
        "It opens no base as small as this one: the file shows what a run on a full-size base leaves."
        if metrics["base_label"] == SMALL_LABEL
        else "The model that it is applied to must be this base."
    )
    control = (
        " ComfyUI reads no control; there the adapter works by words alone."
        if metrics["channels"] or metrics["pose"]
        else ""
    )
    return (
        f"`{COMFY_FILE}`, the same adapter for ComfyUI: put it into `ComfyUI/models/loras` and choose it in the node"
        f" `LoraLoaderModelOnly`, with a strength of 1. {base}{control}"
    )


def loading(metrics: Json) -> str:
    """The lines of Python that load the adapter: by diffusers, and by PEFT where diffusers has no way."""
    pipeline = metrics["pipeline"]
    if hasattr(getattr(diffusers, pipeline), "load_lora_weights"):
        lines = [
            f"from diffusers import {pipeline}",
            "",
            f"pipeline = {pipeline}.from_pretrained(base_folder)",
            f'pipeline.load_lora_weights(folder, weight_name="{ADAPTER_FILE}")',
        ]
    else:
        lines = [BY_PEFT.format(pipeline=pipeline, denoiser=metrics["denoiser"], file=ADAPTER_FILE)]
    return "\n".join([*lines, *_steering(metrics)])


def _steering(metrics: Json) -> list[str]:
    """The lines that steer the pipeline, where there is something to steer it by."""
    channels, with_pose = metrics["channels"], metrics["pose"]
    if not channels and not with_pose:
        return []
    lines = ["", "from cliploom_control import load_control  # beside this file"]
    lines += ["from cliploom_skeletons import draw_people"] * with_pose
    lines += ["", "control = load_control(folder, pipeline)"]
    if with_pose:
        lines += [
            "# people: [P, 17, 3], key points in COCO's order: x and y in 0..1 of width and height, and a score.",
            "pose = draw_people(people, height, width)  # of the sample's size; of a video all its frames in an array",
        ]
    if channels:
        lines.append(f"# Channels, from -1 to 1; those that are not named are left alone: {', '.join(channels)}.")
    asked = [f"{name}=0.8" for name in channels[:1]] + ["pose=pose"] * with_pose
    return [*lines, f"with control.steer({', '.join(asked)}, strength=1.0):", '    sample = pipeline("...")']


def _lineage(request: TrainingRequested, lineage: Lineage, metrics: Json) -> str:
    published = (
        f"`{lineage.snapshot['tag']}` publishes every member; digest `{lineage.snapshot['digest']}`"
        if lineage.snapshot
        else "none publishes every member"
    )
    parent = f"run `{request.parent}`" if request.parent else "none: started from an adapter that changes nothing"
    return f"""## Lineage

| | |
|---|---|
| run | `{request.run_id}` |
| concept | {request.concept} |
| trigger word | {request.token or "none: requested before there were any"} |
| definition | `{json.dumps(lineage.definition, sort_keys=True)}` |
| members | digest `{request.members_digest}`, {metrics["n_clips"]} clips of {metrics["n_videos"]} videos |
| membership recipe | `{lineage.recipe}` |
| snapshot | {published} |
| parent adapter | {parent} |
| base | `{metrics["base"]}`: {metrics["base_label"]} |
| base revision | `{metrics["base_revision"]}` |
| requested | by {request.requested_by} at {request.requested_at.isoformat()}: {request.reason} |
| trained | {lineage.trained_at.isoformat()} |
"""


def _footage(members: Sequence[TrainingClip]) -> str:
    counts = Counter((clip.source, clip.licence or "none on record; released by a person") for clip in members)
    rows = "\n".join(f"| {source} | {licence} | {n} |" for (source, licence), n in sorted(counts.items()))
    return f"""## Footage

| source | licence | clips |
|---|---|---|
{rows}
"""


def _measured(metrics: Json) -> str:
    held_out = f"held-out clips ({metrics['n_held_out_pieces']} pieces, never trained on)"
    exports = "".join(
        f"`{name}`, read back, changes each module as that does, to within {difference:.1g} of the change.\n"
        for name, difference in metrics["exports"].items()
    )
    return f"""## Measured

| noise-prediction loss on fixed noise | before | after |
|---|---|---|
| {held_out} | {metrics["held_out_loss_before"]:.4f} | {metrics["held_out_loss_after"]:.4f} |
| trained-on clips | {metrics["fixed_loss_before"]:.4f} | {metrics["fixed_loss_after"]:.4f} |

A fresh pipeline with `{ADAPTER_FILE}` gave the trained model's output to within {metrics["reload_max_abs_diff"]:g}.
{exports}"""


def _settings(metrics: Json) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in metrics["settings"].items())
    return f"""## Settings

{metrics["n_parameters"]} parameters in {metrics["n_modules"]} modules.

| setting | value |
|---|---|
{rows}
"""


def _limits(metrics: Json) -> str:
    small = (
        "\nThe base is small and knows nothing but this footage: the adapter fits no other base, and its pictures"
        " show that the training works, no more.\n"
        if metrics["base_label"] == SMALL_LABEL
        else ""
    )
    return f"""## Not for

Pictures that pass for recordings of the people shown; any judgement of a person; use beyond the licences above.
{small}"""
