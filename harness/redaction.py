"""Keys and tokens are taken out of what is stored, and refused where they would be: a record is made to be shared."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

HIDDEN = "***"
SHORTEST = 8  # of a variable's value; a shorter one is a switch, or a word that texts hold anyway
SHORTEST_WORD = 16  # of one without a digit, unless its name says password; HF_TOKEN=disabled is a switch
PIECE_BYTES = 1 << 20
_PASSWORD_NAME = re.compile(r"(?i)passw(or)?d|passphrase|secret|(^|_)(pg|ssh)?pass($|_)|[a-z]_pwd($|_)")
_KEY_NAME = re.compile(r"(?i)token($|_)|api_?key|(^|_)(key|pat|auth|credentials?|jwt|bearer)($|_)")
# As their issuers write them; a token alone before a URL's host; then what an HTTP header, a URL or a query names.
_FORMS = re.compile(
    r"\b(?:hf_|sk-|gh[opsur]_|github_pat_|glpat-|xox[abeprs]-|xapp-|nvapi-|gsk_|r8_|pypi-|dckr_pat_|[sr]k_live_)"
    r"[A-Za-z0-9_-]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_-]{30,}|\bya29\.[A-Za-z0-9_-]{16,}"
    r"|\beyJ[A-Za-z0-9_-]{8,500}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"
    r"|(?<=://)[A-Za-z0-9_-]{16,}(?=@)"
    r"|(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)[^/\s:@'\"]*:[^/\s@'\"]+(?=@)"
)
_NAMED = re.compile(
    r"(?i)((?:\bx-)?\bapi-key['\"]?\s*[:=]\s*['\"]?"
    r"|[?&](?:api_?key|key|token|access_token|auth|password|sig|(?:x-amz-)?signature|x-amz-security-token)=)"
    r"[A-Za-z0-9._~+/%=-]{8,}"
)


def secrets_in(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables whose names say that they are secret (HF_TOKEN, DB_PASSWORD), the longest first.

    A value of several lines counts as a whole and line by line, and each also as JSON and a URL write it.
    """
    return _as_written(value for name, value in environment.items() if _is_secret(name, value))


def _is_secret(name: str, value: str) -> bool:
    if len(value) < SHORTEST:
        return False
    if _PASSWORD_NAME.search(name):
        return True
    if not _KEY_NAME.search(name):
        return False
    return re.search(r"\d", value) is not None or (len(value) >= SHORTEST_WORD and not re.search(r"[/\s]", value))


def _as_written(values: Collection[str] | Iterator[str]) -> tuple[str, ...]:
    found: set[str] = set()
    for value in values:
        lines = (line for line in value.splitlines() if len(line) >= SHORTEST_WORD)
        for text in (value, *lines):
            with suppress(UnicodeEncodeError):  # half a character, as an environment may hold it
                found |= {quote(text, safe="")}
            found |= {text, repr(text)[1:-1], json.dumps(text)[1:-1]}
    return tuple(sorted(found - {""}, key=lambda text: (-len(text), text)))


def redacted(text: str, environment: Mapping[str, str] | None = None, also: Collection[str] = ()) -> str:
    """The text without secrets.

    Args:
        text: What a library, a server or a user wrote.
        environment: Whose secrets are taken out, beside what looks like a token; None: this process's.
        also: Further secrets, whatever their form.
    """
    return _without((*_as_written(also), *secrets_in(os.environ if environment is None else environment)), text)


def _without(secrets: Collection[str], text: str) -> str:
    for value in secrets:
        text = text.replace(value, HIDDEN)
    return _NAMED.sub(rf"\1{HIDDEN}", _FORMS.sub(HIDDEN, text))


def holds_secret(text: str) -> bool:
    """Whether `redacted` would change the text."""
    return redacted(text) != text


def redact_file(path: Path, environment: Mapping[str, str] | None = None, also: Collection[str] = ()) -> None:
    """Take the same out of a file, piece by piece; where that cannot be done, the file's content is given up.

    Args:
        path: A text in UTF-8, or nearly; a missing one stays missing.
        environment, also: As `redacted`.
    """
    secrets = (*_as_written(also), *secrets_in(os.environ if environment is None else environment))
    part = path.with_name(f"{path.name}.part")
    try:
        with path.open("rb") as file, part.open("wb") as cleaned:
            for piece in _pieces(file):
                text = _without(secrets, piece.decode("utf-8", "surrogateescape"))
                cleaned.write(text.encode("utf-8", "surrogateescape"))
        part.replace(path)
    except FileNotFoundError:
        part.unlink(missing_ok=True)
    except OSError as error:
        give_up(path, f"it could not be searched for keys: {error.strerror or error}")


def give_up(path: Path, reason: str) -> None:
    """Leave one sentence in the place of a file that may hold keys."""
    for file in (path, path.with_name(f"{path.name}.part")):
        with suppress(OSError):  # a folder that cannot be written: then the run is not kept either
            file.unlink(missing_ok=True)
    with suppress(OSError):
        path.write_text(f"[removed by the harness: {reason}]\n", encoding="utf-8")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """A file in pieces that end with a line: a key cut in two would not be found."""
    held = b""
    while chunk := file.read(PIECE_BYTES):
        held += chunk
        end = max(held.rfind(b"\n"), held.rfind(b"\r")) + 1
        if end == 0 and len(held) > 8 * PIECE_BYTES:  # no line: whatever it is, no log
            end = held.rfind(b" ") + 1 or len(held)
        if end:
            yield held[:end]
            held = held[end:]
    yield held
