"""Tasks of lm-evaluation-harness on local files, and a model's metrics in them."""

import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from titans_seq.domains.language.text import read_text
from titans_seq.errors import DataError, reason


def write_tasks(folder: Path, sources: Mapping[str, Path]) -> list[str]:
    """Write task files for `lm_eval.tasks.TaskManager(include_path=folder)` that read local files; return their names.

    Prompts and metrics are the harness's own, by inclusion; only where the data come from is another place.

    Args:
        folder: takes the files, which must stay while tasks run.
        sources: file of each task: "wikitext" (text with ` = Title = ` lines), "lambada" (JSON lines with `text`),
            "piqa" (JSON lines, with NAME_labels.lst beside NAME.jsonl), or any other task of the harness by its name
            (hellaswag, arc_easy, boolq, winogrande ...), as JSON lines with the fields of its data set.

    Raises:
        DataError: an unknown name, or a file that cannot be used.
    """
    import lm_eval.tasks

    stock = Path(next(iter(lm_eval.tasks.__path__)))
    names = []
    for name, source in sources.items():
        included, make = TASKS[name] if name in TASKS else (_stock_file(stock, name), _records)
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
    model: Any, sources: Mapping[str, Path], limit: int | None = None, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return metrics of each task, by the harness's `simple_evaluate`; `limit` documents at the most.

    Args:
        model: a `HarnessLM`, or any other model of the harness.
        sources: see `write_tasks`.
    """
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


def _records(source: Path) -> list[dict[str, Any]]:
    """Return JSON objects, one a line."""
    rows = _lines(source)
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{source} has a line that is no JSON object")
    return rows


def _stock_file(stock: Path, name: str) -> str:
    """Return the harness's own file of a task, below its folder of tasks."""
    wanted = re.compile(rf"^task: {re.escape(name)}\s*$", re.M)
    for path in sorted(stock.rglob("*.yaml")):
        if wanted.search(path.read_text(encoding="utf-8")):
            return str(path.relative_to(stock))
    raise DataError(f"lm-evaluation-harness has no task named {name!r}")


def _passages(source: Path) -> list[dict[str, Any]]:
    rows = _records(source)
    if not all(isinstance(row.get("text"), str) for row in rows):
        raise DataError(f"{source} has a line without text")
    return rows


def _choices(source: Path) -> list[dict[str, Any]]:
    rows, labels = _records(source), read_text(source.with_name(f"{source.stem}_labels.lst")).split()
    if len(rows) != len(labels):
        raise DataError(f"{source} has {len(rows)} questions, but there are {len(labels)} labels")
    return [row | {"label": int(label)} for row, label in zip(rows, labels, strict=True)]


TASKS: dict[str, tuple[str, Callable[[Path], list[dict[str, Any]]]]] = {
    "wikitext": ("wikitext/wikitext.yaml", _pages),
    "lambada": ("lambada/lambada_standard.yaml", _passages),
    "piqa": ("piqa/piqa.yaml", _choices),
}
"""Task -> the harness's own file, and what makes its documents of ours."""
