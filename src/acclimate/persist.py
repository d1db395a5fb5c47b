"""One model file: safetensors with a manifest inside, hash verified, published atomically, never pickle.

A file is a plain safetensors file whose metadata holds one JSON manifest: the format version, the structure of
the object (which dataclass, which fields) and a SHA-256 over the manifest and every tensor. Only classes that the
reader names are ever built, and only from their declared fields.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from acclimate.errors import ModelFileError, UserInputError

FORMAT = 1
_KEY = "acclimate"


def pack(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """Takes an object apart into a JSON tree and named tensors.

    Handles tensors, dataclasses of such, dicts with string keys, tuples, lists and plain scalars.

    Raises:
        TypeError: for anything else.
    """
    tensors: dict[str, Tensor] = {}

    def walk(node: Any, path: str) -> Any:
        if isinstance(node, Tensor):
            tensors[path] = node.detach().cpu().clone().contiguous()
            return {"$": "tensor", "name": path}
        if dataclasses.is_dataclass(node) and not isinstance(node, type):
            fields = {f.name: walk(getattr(node, f.name), f"{path}.{f.name}") for f in dataclasses.fields(node)}
            return {"$": "object", "class": type(node).__name__, "fields": fields}
        if isinstance(node, Mapping):
            return {"$": "dict", "items": {str(k): walk(v, f"{path}.{k}") for k, v in node.items()}}
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
    if not isinstance(tree, dict):
        return tree
    kind = tree.get("$")
    if kind == "tensor":
        if tree["name"] not in tensors:
            raise ModelFileError(f"The model file lacks the tensor {tree['name']!r} that its manifest names.")
        return tensors[tree["name"]]
    if kind == "object":
        if tree["class"] not in classes:
            raise ModelFileError(
                f"The model file holds a {tree['class']!r}, which this installation does not know. "
                "Pass its class: load(path, classes=[...])."
            )
        fields = {name: unpack(value, tensors, classes) for name, value in tree["fields"].items()}
        try:
            return classes[tree["class"]](**fields)
        except TypeError as error:
            raise ModelFileError(
                f"The model file was written by another version: {tree['class']} does not fit ({error})."
            ) from None
    if kind == "dict":
        return {name: unpack(value, tensors, classes) for name, value in tree["items"].items()}
    items = [unpack(value, tensors, classes) for value in tree["items"]]
    return tuple(items) if kind == "tuple" else items


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


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads and verifies a model file.

    Returns:
        The manifest (with its ``sha256``) and the tensors.

    Raises:
        ModelFileError: missing, torn, damaged, of a newer format, or not a model file at all.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"There is no model file at {path}. Train one with `acclimate fit`.") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from None
    text = _metadata(path, data)
    try:
        manifest = json.loads(text)
        claimed = manifest.pop("sha256")
        version = manifest["format"]
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ModelFileError(f"{path} is damaged: its manifest cannot be read. Restore it from a copy.") from None
    if version != FORMAT:
        raise ModelFileError(
            f"{path} has format {version}; this version of acclimate reads format {FORMAT}. Upgrade acclimate."
        )
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError):
        raise ModelFileError(_torn(path)) from None
    if _digest(manifest, tensors) != claimed:
        raise ModelFileError(
            f"{path} is damaged: its contents do not match its SHA-256 {claimed[:12]}. Restore it from a copy."
        )
    return {**manifest, "sha256": claimed}, tensors


@contextlib.contextmanager
def publish(path: Path) -> Iterator[BinaryIO]:
    """A file that appears at ``path`` complete and on disk, or not at all.

    Raises:
        UserInputError: the file cannot be written; what stood at ``path`` is untouched.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            yield file  # type: ignore[misc]
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise UserInputError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _metadata(path: Path, data: bytes) -> str:
    """The manifest text in the header of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or data[8:9] != b"{":
        raise ModelFileError(f"{path} is not a model file of acclimate (it does not start like one).")
    if length > len(data) - 8:
        raise ModelFileError(_torn(path))
    try:
        text = json.loads(data[8 : 8 + length])["__metadata__"][_KEY]
    except (ValueError, KeyError, TypeError):
        raise ModelFileError(f"{path} is a safetensors file, but not a model of acclimate, or damaged.") from None
    return str(text)


def _torn(path: Path) -> str:
    return f"{path} is torn: its tensors are incomplete or overlap. Restore it from a copy, or fit again."


def _digest(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
