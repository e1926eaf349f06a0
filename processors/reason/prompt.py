"""What a model is asked, read from TOML: `prompt.toml` beside this file, or another in its form."""

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from store.errors import SettingsError
from store.records import Value, digest

DEFAULT_PROMPT = Path(__file__).with_name("prompt.toml")
_FILLED = ("{vocabulary}", "{sheet}", "{context}")


class Prompt(Value):
    """The texts of `prompt.toml`; see there."""

    version: int = Field(ge=1)
    system: str = Field(min_length=1)
    question: str
    again: str
    invalid: str
    paraphrases: tuple[str, ...] = ()

    @field_validator("question", "paraphrases")
    @classmethod
    def _is_filled(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for text in (value,) if isinstance(value, str) else value:
            if missing := [name for name in _FILLED if name not in text]:
                raise ValueError(f"lacks {', '.join(missing)}, which is filled in")
        return value

    @field_validator("again", "invalid")
    @classmethod
    def _names_problems(cls, value: str) -> str:
        if "{problems}" not in value:
            raise ValueError("lacks {problems}, which is filled in")
        return value

    @property
    def recipe(self) -> str:
        """Hash of the texts that are asked; paraphrases are for measuring only."""
        return digest(self.model_dump(mode="json", exclude={"paraphrases"}))[:16]

    def paraphrased(self, which: int) -> "Prompt":
        """The same prompt with the question in other words."""
        return self.model_copy(update={"question": self.paraphrases[which]})

    def ask(self, vocabulary: str, sheet: str, context: str) -> str:
        """The question about one clip."""
        filled = self.question
        for name, text in zip(_FILLED, (vocabulary, sheet, context), strict=True):
            filled = filled.replace(name, text)
        return filled.strip()

    def ask_again(self, contradictions: str) -> str:
        """The addition that names what contradicts the measurements."""
        return self.again.replace("{problems}", contradictions).strip()

    def ask_in_form(self, problems: str) -> str:
        """The addition that says why an answer was none."""
        return self.invalid.replace("{problems}", problems).strip()


def load_prompt(path: Path | None = None) -> Prompt:
    """The prompt in a TOML file; None: the default.

    Raises:
        SettingsError: no file, no TOML, or no prompt.
    """
    path = path or DEFAULT_PROMPT
    try:
        return Prompt.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"prompt {path} cannot be read: {error.strerror}; give an existing file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"prompt {path} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"prompt {path}, {where}: {first['msg']}; see processors/reason/prompt.toml") from error
