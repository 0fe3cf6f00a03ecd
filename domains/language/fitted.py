"""What a fitted language model does with texts. Axes: T tokens."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted

from titans_seq.domains.language.documents import Documents
from titans_seq.domains.language.evaluation import stream_losses
from titans_seq.domains.language.generation import Continuation, Writing, check_stops
from titans_seq.domains.language.lines import score_lines
from titans_seq.domains.language.network import LanguageNetwork
from titans_seq.domains.language.rows import total_nats
from titans_seq.domains.language.sampling import Sampling
from titans_seq.domains.language.surprise import trace_surprise
from titans_seq.domains.language.text import Text, pieces
from titans_seq.domains.language.vocabulary import Vocabulary, utf8
from titans_seq.errors import DataError
from titans_seq.validation import check_whole


class FittedLanguageModel:
    """A vocabulary and a trained network: texts are scored and continued, in constant memory."""

    vocabulary_: Vocabulary
    network_: LanguageNetwork

    def score(self, text: Text | Documents, y: None = None) -> float:
        """Return minus the `bits_per_byte` of a text: higher is better, as scikit-learn's searches assume."""
        return -self.bits_per_byte(text)

    def bits_per_byte(self, text: Text | Documents) -> float:
        """Return the bits per byte of a text, read as one stream: every byte counts, each given all before it.

        Lower is better. Of documents each is a stream of its own.

        Memory does not grow with the text, if it comes as a file or in pieces.

        Raises:
            DataError: the text is empty, unreadable, or has symbols that the vocabulary lacks.
        """
        check_is_fitted(self, "network_")
        if isinstance(text, Documents):
            rows = [self.vocabulary_.encode_begun(document) for document in text.texts]
            return total_nats(self.network_, rows) / math.log(2) / sum(len(utf8(document)) for document in text.texts)
        nats, read = 0.0, 0

        def counted() -> Iterator[str]:
            nonlocal read
            for piece in pieces(text):
                read += len(utf8(piece))
                yield piece

        for losses in stream_losses(self.network_, self.vocabulary_.encode_pieces(counted())):
            nats += float(losses.double().sum())
        return nats / math.log(2) / read

    def score_lines(self, text: Text) -> Iterator[dict[str, Any]]:
        """Yield each line of a text, read as one stream: its `line` (from 1), `bytes`, `bits_per_byte` and `text`.

        The line break belongs to its line. Errors as `bits_per_byte`.
        """
        check_is_fitted(self, "network_")
        return score_lines(self.network_, self.vocabulary_, pieces(text))

    def surprise(self, text: Text) -> pd.DataFrame:
        """Return how unexpected each token of a text is, read as one stream; what is foreign stands out.

        Returns:
            a row per token (byte, or character), with columns
            - bits: -log2 of the probability that the model gave it; high all along a foreign passage.
            - memory: norm of the memory's momentary surprise, mean of all layers and heads; NaN without a memory. It
            says how hard a token is written, which is most where one symbol repeats, not where the text is foreign.

        Raises:
            DataError: as `score`.
        """
        check_is_fitted(self, "network_")
        losses, norms = trace_surprise(self.network_, self.vocabulary_.encode_pieces(pieces(text)))
        return pd.DataFrame({"bits": losses / math.log(2), "memory": norms})

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        max_new_tokens: int = 200,
        temperature: float = 0.8,
        *,
        stop: str | Sequence[str] | None = None,
        **sampling: Any,
    ) -> Any:
        """Return what follows a prompt, without the prompt: `stream`, collected.

        Args:
            prompt: one, or a list of them, of different lengths, that are read side by side.
            max_new_tokens: see `stream`, as the next ones.
            temperature: of the draws.
            stop: strings that end a text.
            sampling: further fields of `Sampling`.

        Returns:
            a str; of a list of prompts a list of them, each as if it had been alone.
        """
        if isinstance(prompt, str) or not isinstance(prompt, Iterable):
            return "".join(self.stream(prompt, max_new_tokens, temperature, stop=stop, **sampling))
        check_whole(1, max_new_tokens=max_new_tokens)
        if not (prompts := [*prompt]):
            return []
        rows, writings = self._begin(prompts, temperature, stop, sampling)
        texts = [""] * len(writings)
        for _ in range(max_new_tokens):
            if not rows.rows:
                break
            for row, token in rows.draw().items():
                texts[row] += writings[row].push(token)
            rows.drop({row for row in rows.rows if writings[row].ended})
        return [text + writing.finish() for text, writing in zip(texts, writings, strict=True)]

    def stream(
        self,
        prompt: str = "",
        max_new_tokens: int | None = None,
        temperature: float = 0.8,
        *,
        stop: str | Sequence[str] | None = None,
        **sampling: Any,
    ) -> Iterator[str]:
        """Yield what follows a prompt, character by character, in constant time and memory each; the state is carried.

        Args:
            prompt: of any length; "" begins a document.
            max_new_tokens: tokens at the most; None: on and on, until the document ends.
            temperature: see `Sampling`.
            stop: a string, or several, before the first of which the text ends.
            sampling: further fields of `Sampling`: top_k, top_p, min_p, repetition_penalty, seed.

        Raises:
            DataError: an argument is out of range, or the prompt has symbols that the vocabulary lacks; at once, not
                on the first step.
        """
        if max_new_tokens is not None:
            check_whole(1, max_new_tokens=max_new_tokens)
        rows, (writing,) = self._begin([prompt], temperature, stop, sampling)

        def written() -> Iterator[str]:
            for _ in count() if max_new_tokens is None else range(max_new_tokens):
                if piece := writing.push(rows.draw()[0]):
                    yield piece
                if writing.ended:
                    return
            if rest := writing.finish():
                yield rest

        return written()

    def _begin(
        self, prompts: list[str], temperature: float, stop: Any, sampling: dict[str, Any]
    ) -> tuple[Continuation, list[Writing]]:
        check_is_fitted(self, "network_")
        for prompt in prompts:
            if not isinstance(prompt, str):
                raise DataError(f"the prompt must be a str, not {type(prompt).__name__}")
        end = torch.tensor([self.vocabulary_.end], dtype=torch.int16)
        tokens = [self.vocabulary_.encode(prompt) if prompt else end for prompt in prompts]
        rows = Continuation(self.network_, tokens, Sampling(temperature=temperature, **sampling))
        stops = check_stops(stop)
        return rows, [Writing(self.vocabulary_, stops) for _ in prompts]
