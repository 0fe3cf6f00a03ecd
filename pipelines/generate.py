"""`titans-seq generate`: a saved language model goes on with a prompt, character by character."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError
from titans_seq.pipelines.output import claim_file


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Go on with a prompt."""

    model: Path
    """Folder of a saved language model, as `titans-seq lm` writes it to OUTPUT/model."""
    prompt: str = ""
    """What to go on with; `-` reads it from standard input."""
    max_new_tokens: int = 200
    """Tokens (bytes, or symbols) at the most."""
    temperature: float = 0.8
    """0 takes the likeliest token each time."""
    top_k: int | None = None
    """Only that many of the likeliest tokens."""
    top_p: float | None = None
    """Only the likeliest tokens that together reach this probability."""
    min_p: float | None = None
    """Only tokens at least this share as likely as the likeliest."""
    repetition_penalty: float = 1.0
    """Above 1, what was said is said again less often."""
    stop: tuple[str, ...] = ()
    """Strings before the first of which the text ends."""
    seed: int = 0
    """Of the draws."""
    output: Path | None = None
    """File for the prompt and what follows; none prints it."""
    force: bool = False
    """Overwrite the file."""
    json: bool = False
    """Print prompt and continuation as JSON on standard output."""

    def run(self) -> dict[str, Any]:
        """Do it; returns what `--json` prints."""
        from titans_seq.domains.language import TitansLM
        from titans_seq.files import write_text

        model = TitansLM.load(self.model)
        prompt = _standard_input() if self.prompt == "-" else self.prompt
        choice = {name: getattr(self, name) for name in ("top_k", "top_p", "min_p", "repetition_penalty", "seed")}
        characters = model.stream(prompt, self.max_new_tokens, self.temperature, stop=self.stop, **choice)
        if self.output is not None:
            claim_file(self.output, self.force)
        shown = self.output is None and not self.json
        if shown:
            print(prompt, end="", flush=True)
        said = []
        for piece in characters:
            said.append(piece)
            if shown:
                print(piece, end="", flush=True)
        if shown:
            print()
        text = "".join(said)
        if self.output is not None:
            write_text(self.output, prompt + text + "\n")
        return {"prompt": prompt, "text": text, "seed": self.seed}


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not UTF-8: {error.reason} at byte {error.start}") from None
