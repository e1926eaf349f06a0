"""The text model's process: `python -m api.texts_worker --profile NAME --models FOLDER`.

Each line of its standard input is a text (a JSON string), each line of its standard output the answer: `{"vector":
[...]}`, or `{"error": kind, "reason": ...}` where there is no such model. It loads the model at the first text, tries
again at the next where that failed, and ends with its standard input.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from processors.vision.texts import text_encoder
from store.errors import CliploomError
from store.records import Json


def main() -> None:
    """Answer until the standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m api.texts_worker", description=__doc__)
    parser.add_argument("--profile", required=True, help="name of a model profile, or a path to a TOML file")
    parser.add_argument("--models", type=Path, required=True, help="folder of local models")
    parsed = parser.parse_args()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    encode: Callable[[str], list[float]] | None = None
    for line in sys.stdin:
        try:
            encode = encode or text_encoder(parsed.profile, parsed.models)
            answer: Json = {"vector": encode(json.loads(line))}
        except CliploomError as error:
            answer = {"error": type(error).__name__, "reason": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
