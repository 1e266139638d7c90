"""Files that commands are given, and files that they leave."""

import os
from pathlib import Path

from lightspeed.cli.errors import UsageError

__all__ = ["check_writable", "text_of"]


def check_writable(path: Path) -> None:
    """Before anything is done of which the file is to tell. Raises `UsageError`."""
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {folder}")
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"cannot write {path}: permission denied")


def text_of(path: Path) -> str:
    """Raises `UsageError` for what is no text, and `OSError`."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text: is it another file?") from None
