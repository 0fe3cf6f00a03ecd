"""A model behind the interface of lm-evaluation-harness (extra `harness`), and its tasks on local files.

Log-likelihoods of whole texts are rolled as a stream, from the first byte to the last, unlike the harness's own rolling
windows, which begin anew. `windows=N` gives those too, so that both figures can stand side by side.
"""

import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from titans_seq.domains.language.language_model import TitansLM
from titans_seq.domains.language.rows import read_rows, row_losses
from titans_seq.domains.language.text import read_text
from titans_seq.errors import DataError, reason
from titans_seq.validation import check_whole

try:
    from lm_eval.api.model import LM
except ModuleNotFoundError:
    LM = object

BATCH = 32

LONGEST = 256
"""Tokens of an answer if the task does not say."""


class HarnessLM(LM):  # type: ignore[misc]
    """A fitted `TitansLM` for `lm_eval.simple_evaluate(model=HarnessLM(model), ...)`.

    Args:
        model: the language model.
        windows: tokens after which a rolling log-likelihood forgets all before, as the harness's windows do; None:
            never, the memory is carried through each document.
        batch: requests that are read side by side.
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
        asked = [number for number, (_, rest) in enumerate(pairs) if len(rest)]
        for group in self._groups(asked, lambda n: len(pairs[n][0]) + len(pairs[n][1]), disable_tqdm):
            likelihoods = self._likelihoods([pairs[number] for number in group])
            for number, likelihood in zip(group, likelihoods, strict=True):
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


def write_tasks(folder: Path, sources: Mapping[str, Path]) -> list[str]:
    """Write task files for `lm_eval.tasks.TaskManager(include_path=folder)` that read local files; return their names.

    Prompts and metrics are the harness's own, by inclusion; only where the data come from is another place.

    Args:
        folder: takes the files, which must stay while tasks run.
        sources: file of each task: "wikitext" (text with ` = Title = ` lines), "lambada" (JSON lines with `text`),
            "piqa" (JSON lines, with NAME_labels.lst beside NAME.jsonl).

    Raises:
        DataError: another name, or a file that cannot be used.
    """
    import lm_eval.tasks

    stock = Path(next(iter(lm_eval.tasks.__path__)))
    names = []
    for name, source in sources.items():
        if name not in TASKS:
            raise DataError(f"no task named {name!r}; there are {', '.join(TASKS)}")
        included, make = TASKS[name]
        rows = make(source)
        if not rows:
            raise DataError(f"{source} has nothing for {name}")
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        names.append(f"local_{name}")
        task = {
            "include": str(stock / included),
            "task": names[-1],
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
            "training_split": None,
            "validation_split": None,
            "test_split": "test",
        }
        (folder / f"{names[-1]}.yaml").write_text(json.dumps(task), encoding="utf-8")
    return names


def evaluate(
    model: HarnessLM, sources: Mapping[str, Path], limit: int | None = None, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return metrics of each task, by the harness's `simple_evaluate`; `limit` documents at the most."""
    import lm_eval

    with tempfile.TemporaryDirectory() as name, _quiet():
        names = write_tasks(Path(name), sources)
        found = lm_eval.simple_evaluate(
            model=model,
            tasks=names,
            task_manager=lm_eval.tasks.TaskManager(include_path=name, include_defaults=False),
            limit=limit,
            bootstrap_iters=0,
            log_samples=False,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
        )
    return {
        task.removeprefix("local_"): {
            key.split(",")[0]: float(value)
            for key, value in values.items()
            if isinstance(value, int | float) and "," in key and "stderr" not in key
        }
        for task, values in found["results"].items()
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the harness says about its own task files, and bars over the reading of small ones."""
    import datasets

    log = logging.getLogger("lm_eval")
    level, bars = log.level, datasets.is_progress_bar_enabled()
    log.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        log.setLevel(level)
        if bars:
            datasets.enable_progress_bars()


def _pages(source: Path) -> list[dict[str, Any]]:
    """Return one document per article, as the harness's own data have it."""
    parts = re.split(r"(?m)^(?= = [^=\n]+ = $)", read_text(source))
    return [{"page": page} for page in parts if page.strip()]


def _lines(source: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in read_text(source).splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(f"{source} is not JSON lines: {reason(error)}") from error
    return rows


def _passages(source: Path) -> list[dict[str, Any]]:
    rows = _lines(source)
    if not all(isinstance(row, dict) and isinstance(row.get("text"), str) for row in rows):
        raise DataError(f"{source} has a line without text")
    return rows


def _choices(source: Path) -> list[dict[str, Any]]:
    rows, labels = _lines(source), read_text(source.with_name(f"{source.stem}_labels.lst")).split()
    if len(rows) != len(labels):
        raise DataError(f"{source} has {len(rows)} questions, but there are {len(labels)} labels")
    return [row | {"label": int(label)} for row, label in zip(rows, labels, strict=True)]


TASKS: dict[str, tuple[str, Callable[[Path], list[dict[str, Any]]]]] = {
    "wikitext": ("wikitext/wikitext.yaml", _pages),
    "lambada": ("lambada/lambada_standard.yaml", _passages),
    "piqa": ("piqa/piqa.yaml", _choices),
}
"""Task -> the harness's own file, and what makes its documents of ours."""
