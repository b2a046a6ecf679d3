"""Files that are either whole or not there: written beside, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecglens.errors import EcglensError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed onto `path` if all went well, removed if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with stable keys order and no NaN (missing numbers are null)."""
    write_text(path, json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_table(path: Path, table: Any) -> None:
    """Write a pandas DataFrame as CSV, numbers with eight significant digits, whole or not at all."""
    with written_whole(path) as beside:
        table.to_csv(beside, index=False, float_format="%.8g", lineterminator="\n")


def write_tensors(path: Path, tensors: dict[str, Any], metadata: dict[str, str] | None = None) -> None:
    """Write torch tensors as safetensors, whole or not at all; raises EcglensError when the disk does not take them."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with written_whole(path) as beside:
            save_file(tensors, beside, metadata=metadata)
    except SafetensorError as error:
        raise EcglensError(f"{path} cannot be written ({error})") from None


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write numpy arrays as safetensors, whole or not at all; raises EcglensError when the disk does not take them."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        with written_whole(path) as beside:
            save_file(arrays, beside)
    except SafetensorError as error:
        raise EcglensError(f"{path} cannot be written ({error})") from None


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _without_nan(value: Any) -> Any:
    convert: Callable[[Any], Any] = _without_nan
    if isinstance(value, dict):
        return {str(key): convert(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [convert(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float) and value != value:
        return None
    return value
