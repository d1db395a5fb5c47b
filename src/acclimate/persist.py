"""One model file: safetensors with a manifest inside, hash verified, published atomically, never pickle.

A file is a plain safetensors file whose metadata holds one JSON manifest: the format version, the structure
of the object (which dataclass, which fields) and a SHA-256 over the manifest and every tensor. Only classes
that the reader names are ever built, and only from their declared fields.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from acclimate.errors import AcclimateError, ModelFileError, UserInputError

FORMAT = 1
_KEY = "acclimate"


def pack(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """Takes an object apart into a JSON tree and named tensors.

    Handles tensors, polars series (as Arrow IPC bytes, so that every type of id comes back equal),
    dataclasses of such, dicts with string keys, tuples, lists and plain scalars.

    Raises:
        TypeError: for anything else.
    """
    tensors: dict[str, Tensor] = {}

    def walk(node: Any, path: str) -> Any:
        if isinstance(node, Tensor):
            tensors[path] = node.detach().cpu().clone().contiguous()
            return {"$": "tensor", "name": path}
        if isinstance(node, pl.Series):
            tensors[path] = _arrow_bytes(node)
            return {"$": "series", "name": path}
        if dataclasses.is_dataclass(node) and not isinstance(node, type):
            fields = {
                f.name: walk(getattr(node, f.name), f"{path}.{f.name}") for f in dataclasses.fields(node)
            }
            return {"$": "object", "class": type(node).__name__, "fields": fields}
        if isinstance(node, Mapping):
            for key in node:
                if not isinstance(key, str):
                    raise TypeError(
                        f"{path}: cannot save a mapping with the key {key!r}; keys must be strings."
                    )
            return {"$": "dict", "items": {k: walk(v, f"{path}.{k}") for k, v in node.items()}}
        if isinstance(node, tuple | list):
            items = [walk(v, f"{path}.{i}") for i, v in enumerate(node)]
            return {"$": "tuple" if isinstance(node, tuple) else "list", "items": items}
        if node is None or isinstance(node, bool | int | float | str):
            return node
        raise TypeError(f"{path}: cannot save a {type(node).__name__}.")

    return walk(value, "model"), tensors


def unpack(tree: Any, tensors: Mapping[str, Tensor], classes: Mapping[str, type]) -> Any:
    """Puts together what :func:`pack` took apart.

    Args:
        classes: the only classes that may be built, by name.

    Raises:
        ModelFileError: the tree names a class or a tensor that is not there, or fields that do not fit.
    """
    try:
        return _build(tree, tensors, classes)
    except (KeyError, AttributeError, IndexError, RecursionError) as error:
        raise ModelFileError(
            f"The model file's manifest does not describe a model ({error!r}). Restore it from a copy."
        ) from None


def _build(tree: Any, tensors: Mapping[str, Tensor], classes: Mapping[str, type]) -> Any:
    if not isinstance(tree, dict):
        return tree
    kind = tree["$"]
    if kind in ("tensor", "series"):
        if tree["name"] not in tensors:
            raise ModelFileError(f"The model file lacks the tensor {tree['name']!r} that its manifest names.")
        tensor = tensors[tree["name"]]
        return tensor if kind == "tensor" else _series(tensor, tree["name"])
    if kind == "object":
        if tree["class"] not in classes:
            raise ModelFileError(
                f"The model file holds a {tree['class']!r}, which this installation does not know. "
                "Pass its class: load(path, classes=[...])."
            )
        fields = {name: _build(value, tensors, classes) for name, value in tree["fields"].items()}
        try:
            return classes[tree["class"]](**fields)
        except ModelFileError:
            raise
        except (TypeError, ValueError, AttributeError, RuntimeError, AcclimateError) as error:
            raise ModelFileError(
                f"The model file was written by another version: {tree['class']} does not fit ({error})."
            ) from None
    if kind == "dict":
        return {name: _build(value, tensors, classes) for name, value in tree["items"].items()}
    if kind in ("tuple", "list"):
        items = [_build(value, tensors, classes) for value in tree["items"]]
        return tuple(items) if kind == "tuple" else items
    raise KeyError(kind)


def write(path: Path, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Writes a model file atomically: either the whole new file stands at ``path``, or what was there before.

    Returns:
        The SHA-256 that names this model.

    Raises:
        UserInputError: the file cannot be written (no such folder, no permission, disk full).
    """
    manifest = {"format": FORMAT, **manifest}
    digest = _digest(manifest, tensors)
    text = json.dumps({**manifest, "sha256": digest})
    with publish(path) as file:
        file.write(save_tensors(dict(tensors), metadata={_KEY: text}))
    return digest


def digest(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 that :func:`write` would return."""
    return _digest({"format": FORMAT, **manifest}, tensors)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads and verifies a model file.

    Returns:
        The manifest (with its ``sha256``) and the tensors.

    Raises:
        ModelFileError: missing, torn, damaged, of a newer format, or not a model file at all.
    """
    data = _bytes(Path(path))
    text = _metadata(path, data)
    try:
        manifest = json.loads(text)
        claimed = manifest.pop("sha256")
        version = manifest["format"]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise ModelFileError(
            f"{path} is damaged: its manifest cannot be read. Restore it from a copy."
        ) from None
    if version != FORMAT:
        raise ModelFileError(
            f"{path} has format {version}; this version of acclimate reads format {FORMAT}. Upgrade "
            "acclimate."
        )
    try:
        tensors = load_tensors(data)
    # The bytes are not trusted yet, and the parser's own errors are of many kinds.
    except Exception:
        raise ModelFileError(_torn(path)) from None
    if _digest(manifest, tensors) != claimed:
        raise ModelFileError(
            f"{path} is damaged: its contents do not match its SHA-256 {str(claimed)[:12]}. "
            "Restore it from a copy, or fit again."
        )
    return {**manifest, "sha256": claimed}, tensors


@contextlib.contextmanager
def publish(path: Path) -> Iterator[BinaryIO]:
    """A file that appears at ``path`` complete and on disk, or not at all.

    Raises:
        UserInputError: the file cannot be written; what stood at ``path`` is untouched.
    """
    # A link keeps pointing where it pointed; the file behind it is what gets replaced.
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".acclimate-{secrets.token_hex(6)}.part"
    try:
        check_target(path)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise UserInputError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_target(path: Path) -> None:
    """Whether a file could be written at ``path``, asked before hours of work rather than after.

    Raises:
        UserInputError: no such folder, no permission, or a folder stands there.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise UserInputError(f"{path} is a folder; name a file in it, such as {Path(path) / 'model.acc'}.")
    if not target.parent.is_dir():
        raise UserInputError(
            f"{path} cannot be written: there is no folder {target.parent}. Create it first."
        )
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UserInputError(f"{path} cannot be written: no permission to write into {target.parent}.")


def _sync_folder(folder: Path) -> None:
    """Makes the new name itself survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _bytes(path: Path) -> bytes:
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder, not a model file; name the file itself.")
    try:
        if path.exists() and not path.is_file():
            raise ModelFileError(f"{path} is not a regular file; save the model to a file first.")
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"There is no model file at {path}. Train one with `acclimate fit`.") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _metadata(path: Path, data: bytes) -> str:
    """The manifest text in the header of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 9 or data[8:9] != b"{":
        raise ModelFileError(
            f"{path} is not a model file of acclimate: {_looks_like(data)}. "
            "A model file is what `acclimate fit --out` or Model.save wrote."
        )
    if length > len(data) - 8:
        raise ModelFileError(_torn(path))
    try:
        text = json.loads(data[8 : 8 + length])["__metadata__"][_KEY]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelFileError(
            f"{path} is a safetensors file, but not a model of acclimate, or its header is damaged. "
            "Restore it from a copy, or fit again."
        ) from None
    return str(text)


def _looks_like(data: bytes) -> str:
    if not data:
        return "it is empty"
    if data.startswith(b"PK"):
        return "it is a zip archive, perhaps a PyTorch checkpoint"
    if data.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "it is a pickle, which could run code and is never opened"
    if data.startswith(b"PAR1"):
        return "it is a Parquet table"
    if b"\0" not in data[:4096]:
        return f"it is text that starts with {data[:24].decode('utf-8', 'replace').splitlines()[0]!r}"
    return "it does not start like one"


def _torn(path: Path) -> str:
    return f"{path} is torn: its tensors are incomplete or overlap. Restore it from a copy, or fit again."


def _arrow_bytes(series: pl.Series) -> Tensor:
    buffer = io.BytesIO()
    pl.DataFrame({"": series}).write_ipc(buffer, compat_level=pl.CompatLevel.oldest())
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def _series(tensor: Tensor, name: str) -> pl.Series:
    try:
        return pl.read_ipc(io.BytesIO(tensor.numpy().tobytes())).to_series()
    # A panic of the Arrow reader is no Exception: hostile bytes with a matching hash must not end the
    # process.
    except (Exception, pl.exceptions.PanicException):
        raise ModelFileError(f"The model file's column {name!r} is not readable Arrow data.") from None


def _digest(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
