"""`cliploom recipe`: what the clips are described by."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.commands.output import AsJson, local, show, text
from api.commands.workers import Data
from store.records import Json

app = typer.Typer(help="What clips are described by: prompt, schema and vocabulary, with their versions.")


class Part(StrEnum):
    """A part of the recipe."""

    PROMPT = "prompt"
    SCHEMA = "schema"
    VOCABULARY = "vocabulary"


@app.command("show")
def show_(
    part: Annotated[Part | None, typer.Argument(help="One part whole; without it, all in short.")] = None,
    profile: Annotated[str, typer.Option(help="Model profile: a name, or a path to a TOML file.")] = "measured",
    data: Data = Path("data"),
    as_json: AsJson = False,
) -> None:
    """Show the recipe of reasoning: engine, prompt, schema and vocabulary. Needs no service."""
    # Here, because engines load torch: the other commands start without it.
    from processors.evaluation import KeptHere
    from processors.reason.opening import open_reasoner

    with local("recipe show", as_json):
        reasoner, line, absent = open_reasoner(profile, data.resolve() / "models", KeptHere())
    prompt, vocabulary = reasoner.prompt, reasoner.vocabulary
    whole: Json = {
        "engine": reasoner.engine.id,
        "recipe": reasoner.recipe,
        "absent": absent,
        "frames": line.frames,
        "context": line.context,
        "prompt": prompt.model_dump(mode="json") | {"recipe": prompt.recipe},
        "schema": reasoner.schema,
        "vocabulary": vocabulary.model_dump(mode="json") | {"recipe": vocabulary.recipe},
    }
    if part is None:
        show(whole, as_json, _print)
    else:
        show(whole[part.value], as_json, _PRINT[part])


def _print(console: Console, whole: Json) -> None:
    prompt, vocabulary = whole["prompt"], whole["vocabulary"]
    told = [
        f"engine      {whole['engine']}, recipe {whole['recipe']}",
        f"shown       at most {whole['frames']} frames, and {whole['context']} earlier clips of the video",
        f"prompt      version {prompt['version']}, recipe {prompt['recipe']}",
        f"schema      {len(whole['schema']['$defs'])} definitions",
        f"vocabulary  recipe {vocabulary['recipe']}: {len(vocabulary['slots'])} slots with"
        f" {sum(len(slot['terms']) for slot in vocabulary['slots'])} terms, {len(vocabulary['controls'])} controls",
    ]
    console.print(escape("\n".join(told)), highlight=False, soft_wrap=True)
    if whole["absent"]:
        console.print(f"the profile's engine is absent: {escape(whole['absent'])}", highlight=False, soft_wrap=True)


def _print_prompt(console: Console, prompt: Json) -> None:
    for name in ("system", "question", "again", "invalid"):
        console.print(f"[bold]{name}[/]\n{escape(prompt[name].strip())}\n", highlight=False, soft_wrap=True)


def _print_vocabulary(console: Console, vocabulary: Json) -> None:
    for slot in vocabulary["slots"]:
        console.print(f"[bold]{slot['name']}[/]: {escape(slot['meaning'])}", highlight=False, soft_wrap=True)
        for term in slot["terms"]:
            also = f" (also {', '.join(term['synonyms'])})" if term["synonyms"] else ""
            told = f"  {term['name']}: {term['meaning']}{also}; said as {text(term['phrase'] or None)}"
            console.print(escape(told), highlight=False, soft_wrap=True)


_PRINT = {
    Part.PROMPT: _print_prompt,
    Part.SCHEMA: lambda console, schema: console.print_json(data=schema),
    Part.VOCABULARY: _print_vocabulary,
}
