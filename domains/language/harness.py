"""A model behind the interface of lm-evaluation-harness (extra `harness`), for tasks on local files.

Log-likelihoods of whole texts are rolled as a stream, from the first byte to the last, unlike the harness's own rolling
windows, which begin anew. `windows=N` gives those too, so that both figures can stand side by side.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from titans_seq.domains.language.language_model import TitansLM
from titans_seq.domains.language.rows import read_rows, row_losses
from titans_seq.errors import DataError
from titans_seq.validation import check_whole

try:
    from lm_eval.api.model import LM
except ModuleNotFoundError:
    LM = object

BATCH = 8
"""Contexts at a time: on two cores more are not faster."""

LONGEST = 256
"""Tokens of an answer if the task does not say."""


class HarnessLM(LM):  # type: ignore[misc]
    """A fitted `TitansLM` for `lm_eval.simple_evaluate(model=HarnessLM(model), ...)`.

    Args:
        model: the language model.
        windows: tokens after which a rolling log-likelihood forgets all before, as the harness's windows do; None:
            never, the memory is carried through each document.
        batch: contexts that are read side by side, each once for all of its continuations.
    """

    def __init__(self, model: TitansLM, windows: int | None = None, batch: int = BATCH) -> None:
        super().__init__()
        if LM is object:
            raise DataError("lm-evaluation-harness is not installed: pip install 'titans-seq[harness]'")
        if windows is not None and windows < 1:
            raise DataError(f"windows must be at least 1 or None, not {windows!r}")
        check_whole(1, batch=batch)
        self.model, self.windows, self.batch = model, windows, int(batch)
        self._device = torch.device("cpu")

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return (log-probability in nats, whether greedy decoding gives it) of each (context, continuation)."""
        found: list[tuple[float, bool]] = [(0.0, True)] * len(requests)
        pairs = [(self._context(context), self._encode(rest)) for context, rest in (r.args for r in requests)]
        asked: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            if len(pairs[number][1]):
                asked.setdefault(request.args[0], []).append(number)
        alike = [*asked.values()]
        for group in self._groups(range(len(alike)), lambda n: len(pairs[alike[n][0]][0]), disable_tqdm):
            numbers = [number for n in group for number in alike[n]]
            likelihoods = self._likelihoods([pairs[number] for number in numbers])
            for number, likelihood in zip(numbers, likelihoods, strict=True):
                found[number] = likelihood
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return log-probability, nats, of each whole text."""
        texts = [self._encode(request.args[0]) for request in requests]
        found, first = [0.0] * len(texts), self._context("")
        parts = [(n, part) for n, text in enumerate(texts) for part in self._windows(torch.cat([first, text]))]
        for group in self._groups(range(len(parts)), lambda n: len(parts[n][1]), disable_tqdm):
            losses = row_losses(self.model.network_, [parts[number][1] for number in group])
            for number, (nats, _) in zip(group, losses, strict=True):
                found[parts[number][0]] -= float(nats.sum())
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return what follows each context, up to the first of the strings in `until`."""
        found = [""] * len(requests)
        kinds = [json.dumps(request.args[1], sort_keys=True, default=str) for request in requests]
        for kind, alike in groupby(sorted(range(len(kinds)), key=kinds.__getitem__), kinds.__getitem__):
            options = json.loads(kind)
            for group in self._groups([*alike], lambda n: len(requests[n].args[0]), disable_tqdm):
                answers = self._answers([requests[number].args[0] for number in group], options)
                for number, answer in zip(group, answers, strict=True):
                    found[number] = answer
        return found

    def _likelihoods(self, pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[float, bool]]:
        """Return the likelihoods of continuations; a context that several share is read once."""
        network = self.model.network_
        contexts = {tuple(context.tolist()): context for context, _ in pairs}
        before = [context[:-1] for context in contexts.values()]
        state = read_rows(network, before)[1] if any(map(len, before)) else None
        if state is not None:
            order = [*contexts]
            state = state.select([order.index(tuple(context.tolist())) for context, _ in pairs])
        rows = [torch.cat([context[-1:], rest]) for context, rest in pairs]
        return [(-float(nats.sum()), bool(greedy.all())) for nats, greedy in row_losses(network, rows, state)]

    def _windows(self, tokens: Tensor) -> list[Tensor]:
        """Return rows to roll over, each with the token before its first: all, or windows as the harness cuts them."""
        size = self.windows or len(tokens)
        return [tokens[start : start + size + 1] for start in range(0, len(tokens) - 1, size)]

    def _answers(self, contexts: list[str], options: dict[str, Any]) -> list[str]:
        until = options.get("until") or []
        until = [until] if isinstance(until, str) else [u for u in until if u]
        temperature = float(options.get("temperature", 0.0)) if options.get("do_sample", False) else 0.0
        count = int(options.get("max_gen_toks", LONGEST))
        choice = {name: options.get(name) for name in ("top_k", "top_p", "min_p")}
        answers: list[str] = self.model.generate(contexts, count, temperature, stop=until, **choice)
        return answers

    def _groups(self, numbers: Sequence[int], length: Callable[[int], int], hidden: bool) -> Iterator[Sequence[int]]:
        """Yield requests in groups that are read side by side, those of like length together, with progress."""
        from tqdm import tqdm

        order = sorted(numbers, key=length, reverse=True)
        with tqdm(total=len(order), disable=hidden or None) as bar:
            for start in range(0, len(order), self.batch):
                group = order[start : start + self.batch]
                yield group
                bar.update(len(group))

    def _encode(self, text: str) -> Tensor:
        return self.model.vocabulary_.encode(text)

    def _context(self, text: str) -> Tensor:
        end = torch.tensor([self.model.vocabulary_.end], dtype=torch.int16)
        return self._encode(text) if text else end
