"""`python -m benchmarks readme`: write benchmarks/README.md from the newest result of each benchmark."""

import json
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure
from titans_seq.files import write_text

FOLDER = Path(__file__).parent
DATED = re.compile(r"(.+)-(\d{4}-\d{2}-\d{2})\.json")


@dataclass(frozen=True, kw_only=True)
class Readme:
    """Write benchmarks/README.md from the newest result of each benchmark."""

    results: Path = FOLDER / "results"
    """Folder of the results."""
    out: Path = FOLDER / "README.md"
    """File to write."""

    def run(self) -> None:
        """Write the page."""
        write_text(self.out, render(self.results))
        print(self.out)


def render(folder: Path) -> str:
    """Return the page: a table of figures with date, commit, machine and command."""
    rows = []
    for name, (file, result) in newest(folder).items():
        module = import_module(f"benchmarks.{module_name(str(result['benchmark']))}")
        figures: list[Figure] = module.describe_figures(result)
        hardware = result.get("hardware") or "not recorded"
        when = f"{result['date']}, {result.get('commit') or 'not recorded'}"
        for figure in figures:
            link = f"[{name}]({folder.name}/{file})"
            rows.append((*figure, when, hardware, f"{link}: `{command(result)}`"))
    cells = "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows)
    head = "| what | figure | beside | date, commit | machine | result: command |\n|---|---|---|---|---|---|"
    return (FOLDER / "introduction.md").read_text(encoding="utf-8").rstrip() + f"\n\n## Figures\n\n{head}\n{cells}\n"


def newest(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the newest result of each name, with its file: files are called NAME-DATE.json."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        if match := DATED.fullmatch(path.name):
            found[match[1]] = path.name, json.loads(path.read_text(encoding="utf-8"))
    return found


def module_name(benchmark: str) -> str:
    """Return the module of a benchmark; a result's name begins with the name of its module."""
    names = [path.stem for path in FOLDER.glob("*.py")]
    fitting = [name for name in names if benchmark.replace("-", "_").startswith(name)]
    return max(fitting, key=len)


def command(result: dict[str, Any]) -> str:
    """Return the command that measured a result."""
    if "command" in result:
        return str(result["command"])
    benchmark = str(result["benchmark"])
    if benchmark.startswith("recall-ablation"):
        return "make bench-recall-ablation"
    options = ""
    if benchmark.startswith("recall-models") and len(result["summary"]["lmm"]) == 1:
        options = f' --tasks "{next(iter(result["summary"]["lmm"]))}" --steps 600'
    name = module_name(benchmark).replace("_", "-")
    return f"make bench-{name}" if not options else f"python -m benchmarks {name}{options}"
