"""What makes a compiled library safe to load: nobody else can have written it, and it is what was built."""

import os
import stat
from pathlib import Path

from titans_seq.files import digest, write_text

OTHERS = stat.S_IWGRP | stat.S_IWOTH


def distrust(library: Path) -> str | None:
    """Return why a library must not be loaded, or None: its owner, who else can write to it, and its hash."""
    for path in (library.parent, library):
        if (problem := exposure(path)) is not None:
            return problem
    noted = seal_path(library)
    if not noted.is_file() or noted.read_text(encoding="utf-8").strip() != digest(library):
        return f"{library} is not what was built"
    return None


def seal(library: Path) -> None:
    """Note the hash of a library that was built just now."""
    write_text(seal_path(library), digest(library) + "\n")


def seal_path(library: Path) -> Path:
    """Return the file that holds the hash of a library."""
    return library.with_suffix(".sha256")


def make_private(folder: Path) -> None:
    """Make a folder that its owner alone can write to; leave one alone that stands already."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)


def exposure(path: Path) -> str | None:
    """Return who else could have written a file or folder; None: nobody, or the system cannot tell."""
    if not hasattr(os, "getuid"):
        return None
    about = path.stat()
    if about.st_uid not in (os.getuid(), 0):
        return f"{path} belongs to another user"
    if about.st_mode & OTHERS:
        return f"others can write to {path}"
    return None
