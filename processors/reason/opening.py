"""The reasoner of a profile, put together from its engine, prompt and vocabulary."""

from pathlib import Path

from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from processors.profile import ReasonLine, build_if_tiny, load_reason
from processors.reason.engine import create_engine
from processors.reason.prompt import load_prompt
from processors.reason.reasoner import Answers, Reasoner
from processors.reason.trace import MEASURED, TraceForm
from store.errors import ModelUnavailable


def open_reasoner(
    profile_name: str, models: Path, answers: Answers, key: str = "", seed: int = 0, paraphrase: int | None = None
) -> tuple[Reasoner, ReasonLine, str | None]:
    """The profile's reasoner, not loaded yet, and why its engine is not the profile's where that may be absent and is.

    Args:
        key: secret of the endpoint. paraphrase: ask in other words of the prompt's.

    Raises:
        SettingsError: the profile's `[reason]` cannot work.
        ModelUnavailable: its model is missing and not optional.
    """
    build_if_tiny(profile_name, models)
    line = load_reason(profile_name, models)
    form = TraceForm(load_vocabulary(line.vocabulary or DEFAULT_VOCABULARY))
    prompt = load_prompt(line.prompt)
    if paraphrase is not None:
        prompt = prompt.paraphrased(paraphrase)
    secret = {"key": key} if line.engine == "endpoint" and key else {}
    engine, absent = create_engine(line.engine, dict(line.options) | secret, form), None
    try:
        engine.weights()
    except ModelUnavailable as error:
        if not line.optional:
            raise
        engine, absent = create_engine(MEASURED, {}, form), str(error)
    settings = {"frames": line.frames, "context": line.context}
    return Reasoner(engine, prompt, form, answers, settings, seed), line, absent
