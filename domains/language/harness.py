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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from titans_seq.domains.language.evaluation import PIECE, stream_losses
from titans_seq.domains.language.language_model import TitansLM
from titans_seq.domains.language.text import read_text
from titans_seq.errors import DataError, reason

try:
    from lm_eval.api.model import LM
except ModuleNotFoundError:
    LM = object

LONGEST = 256
"""Tokens of an answer if the task does not say."""


class HarnessLM(LM):  # type: ignore[misc]
    """A fitted `TitansLM` for `lm_eval.simple_evaluate(model=HarnessLM(model), ...)`.

    Args:
        model: the language model.
        windows: tokens after which a rolling log-likelihood forgets all before, as the harness's windows do; None:
            never, the memory is carried through each document.
    """

    def __init__(self, model: TitansLM, windows: int | None = None) -> None:
        super().__init__()
        if LM is object:
            raise DataError("lm-evaluation-harness is not installed: pip install 'titans-seq[harness]'")
        if windows is not None and windows < 1:
            raise DataError(f"windows must be at least 1 or None, not {windows!r}")
        self.model, self.windows = model, windows
        self._device = torch.device("cpu")

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return (log-probability in nats, whether greedy decoding gives it) of each (context, continuation)."""
        found = []
        for request in self._shown(requests, disable_tqdm):
            context, continuation = request.args
            found.append(self._likelihood(self._context(context), self._encode(continuation)))
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return log-probability, nats, of each whole text."""
        return [self._rolled(self._encode(request.args[0])) for request in self._shown(requests, disable_tqdm)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return what follows each context, up to the first of the strings in `until`."""
        return [self._answer(*request.args) for request in self._shown(requests, disable_tqdm)]

    @torch.inference_mode()
    def _likelihood(self, context: Tensor, continuation: Tensor) -> tuple[float, bool]:
        if not len(continuation):
            return 0.0, True
        network, state = self.model.network_, None
        for piece in context[:-1].split(PIECE) if len(context) > 1 else ():
            _, state = network(piece.unsqueeze(0), state)
        tokens = torch.cat([context[-1:], continuation])
        chances = network(tokens[:-1].unsqueeze(0), state)[0][0].double().log_softmax(-1)
        nats = chances.gather(1, continuation.long().unsqueeze(1)).sum()
        return float(nats), bool((chances.argmax(-1) == continuation).all())

    def _rolled(self, tokens: Tensor) -> float:
        pieces = tokens.split(self.windows) if self.windows and len(tokens) else [tokens]
        first, total = self._context(""), 0.0
        for piece in pieces:
            total -= sum(float(losses.double().sum()) for losses in stream_losses(self.model.network_, [first, piece]))
            first = piece[-1:]  # as the harness: the last token of the window before is what the next one begins with
        return total

    def _answer(self, context: str, options: dict[str, Any]) -> str:
        until = options.get("until") or []
        until = [until] if isinstance(until, str) else [u for u in until if u]
        temperature = float(options.get("temperature", 0.0)) if options.get("do_sample", False) else 0.0
        count = int(options.get("max_gen_toks", LONGEST))
        choice = {name: options.get(name) for name in ("top_k", "top_p", "min_p")}
        answer: str = self.model.generate(context, count, temperature, stop=until, **choice)
        return answer

    def _encode(self, text: str) -> Tensor:
        return self.model.vocabulary_.encode(text)

    def _context(self, text: str) -> Tensor:
        end = torch.tensor([self.model.vocabulary_.end], dtype=torch.int16)
        return self._encode(text) if text else end

    @staticmethod
    def _shown(requests: Sequence[Any], hidden: bool) -> Iterator[Any]:
        from tqdm import tqdm

        yield from tqdm(requests, disable=hidden or None)


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
