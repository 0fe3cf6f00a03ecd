"""Options and result files that all benchmarks have."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError
from titans_seq.files import write_json
from titans_seq.pipelines.options import JsonOption
from titans_seq.pipelines.output import claim_folder


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(JsonOption):
    """Where the result goes."""

    output: Path | None = None
    """Folder for a dated JSON file, and for pictures where there are any; none writes nothing."""


def check_options(options: BenchmarkOptions, *sizes: str) -> None:
    """Raise DataError unless the named sizes are at least 1 and `output` can be written."""
    for name in sizes:
        if getattr(options, name) < 1:
            raise DataError(f"{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    if options.output is not None:
        claim_folder(options.output, (), force=True)


def check_rows(options: BenchmarkOptions, known: Collection[str], numbers: str = "", least: int = 1) -> None:
    """Raise DataError unless `models` are some of the known ones, and the numbers of an option at least `least`."""
    models: Sequence[str] = options.models  # type: ignore[attr-defined]
    if unknown := [name for name in models if name not in known]:
        raise DataError(f"models must be some of {'; '.join(known)}, not {unknown[0]!r}")
    if not models:
        raise DataError(f"models must be some of {'; '.join(known)}: none is given")
    if numbers and min(getattr(options, numbers), default=least - 1) < least:
        raise DataError(f"{numbers} must be at least {least}")


def row_backbone(options: BenchmarkOptions, sizes: tuple[str, ...], changes: dict[str, Any]) -> Any:
    """Return a row's `BackboneConfig`: the options that are named, 2 heads, and what the row changes but its price.

    Raises:
        DataError: a value is out of range.
    """
    from titans_seq.backbone import BackboneConfig

    changed = {name: value for name, value in changes.items() if name != "gate_cost"}
    try:
        return BackboneConfig(**{"heads": 2, **{name: getattr(options, name) for name in sizes}, **changed})
    except ValueError as error:
        raise DataError(str(error)) from error


def check_doubled(options: BenchmarkOptions, name: str, shortest: int) -> None:
    """Raise DataError unless an option is a length that `doubled` ends with."""
    value = getattr(options, name)
    if value % shortest or (value // shortest).bit_count() != 1:
        raise DataError(f"{name} must be {shortest} times a power of two, not {value}")


def doubled(shortest: int, longest: int) -> list[int]:
    """Return the lengths from `shortest` to `longest`, each twice the one before."""
    return [shortest << power for power in range((longest // shortest).bit_length())]


def write_result(folder: Path | None, name: str, result: dict[str, Any]) -> None:
    """Write the result of a benchmark as NAME-DATE.json, if a folder is given."""
    if folder is not None:
        write_json(folder / f"{name}-{result['date']}.json", result)
