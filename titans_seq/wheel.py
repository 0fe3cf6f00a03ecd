"""This package as a wheel, and the versions it runs with: what an empty environment needs to load a logged model."""

from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement

from titans_seq.version import __version__

PROJECT = "titans-seq"
PACKAGE = "titans_seq"
WHEEL = f"{PACKAGE}-{__version__}-py3-none-any.whl"
"""Name of the file."""
FORMAT = "Wheel-Version: 1.0\nGenerator: titans-seq\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder: Path) -> Path:
    """Write the package as it runs here, released or not, as a wheel into a folder; return its path."""
    from wheel.wheelfile import WheelFile

    root, about = Path(__file__).parent, f"{PACKAGE}-{__version__}.dist-info"
    with WheelFile(folder / WHEEL, "w") as wheel:
        for file in _files(root):
            wheel.write(str(file), (Path(PACKAGE) / file.relative_to(root)).as_posix())
        own = distribution(PROJECT)
        wheel.writestr(f"{about}/METADATA", own.read_text("METADATA") or own.read_text("PKG-INFO") or "")
        wheel.writestr(f"{about}/WHEEL", FORMAT)
    return folder / WHEEL


def pinned_requirements() -> list[str]:
    """Return the packages that this one depends on, with the versions that are installed here."""
    found = []
    for text in distribution(PROJECT).requires or ():
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            try:
                found.append(f"{needed.name}=={version(needed.name).partition('+')[0]}")  # "+cpu" is of no index
            except PackageNotFoundError:
                found.append(f"{needed.name}{needed.specifier}")
    return found


def _files(root: Path) -> list[Path]:
    """Return the files of the package, those behind symbolic links to its folders included."""
    found = []
    for path in sorted(root.iterdir()):
        if path.name == "__pycache__":
            continue
        found += _files(path) if path.is_dir() else [path]
    return found
