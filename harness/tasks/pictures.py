"""Pictures as encoded bytes: drawn by the program, read from a folder, or resized.

A drawn picture is no photograph: it has a horizon, shapes, a grain and a word, so that decoding and resizing it are
ordinary work. What a vision model's forward pass costs hangs on the size of the picture, not on what it shows.
"""

from __future__ import annotations

import hashlib
import io
import random
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import ModelUnavailable, UserInputError
from harness.reading import MOST_PICTURE_BYTES, read_limited

SIZE = (640, 480)  # pixels, width and height: what the study resized every picture to
QUALITY = 90
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow opens others by other programs: EPS by Ghostscript

_WORDS = ("harbour", "kitchen", "orchard", "library", "station", "meadow", "workshop", "bridge", "market", "tunnel")


def drawn(index: int, size: tuple[int, int] = SIZE) -> bytes:
    """Picture number `index` of an endless set, a JPEG of `size` pixels; equal numbers give equal pictures.

    Raises:
        ModelUnavailable: Pillow is not installed.
    """
    image_module, draw_module = _pillow("Image"), _pillow("ImageDraw")
    rng = random.Random(f"picture-{index}")
    width, height = size
    horizon = int(height * (0.4 + 0.3 * rng.random()))
    picture = image_module.new("RGB", size)
    for top, bottom in ((0, horizon), (horizon, height)):  # sky and ground, each darker at its upper edge
        red, green, blue = _colour(rng)
        shades = bytes(part * (128 + row) // 256 for row in range(128) for part in (red, green, blue))
        picture.paste(image_module.frombytes("RGB", (1, 128), shades).resize((width, bottom - top)), (0, top))
    brush = draw_module.Draw(picture)
    for _ in range(6 + int(10 * rng.random())):
        left, top = int(rng.random() * width), int(rng.random() * height)
        right, bottom = left + 8 + int(rng.random() * width / 3), top + 8 + int(rng.random() * height / 3)
        shape = int(rng.random() * 3)
        if shape == 0:
            brush.ellipse([left, top, right, bottom], fill=_colour(rng), outline=_colour(rng))
        elif shape == 1:
            brush.rectangle([left, top, right, bottom], fill=_colour(rng), outline=_colour(rng))
        else:
            brush.polygon([(left, bottom), ((left + right) // 2, top), (right, bottom)], fill=_colour(rng))
    brush.text((int(rng.random() * width / 2), int(rng.random() * height)), _WORDS[int(rng.random() * len(_WORDS))])
    grain = image_module.frombytes("L", (width // 4, height // 4), rng.randbytes((width // 4) * (height // 4)))
    return encoded(image_module.blend(picture, grain.resize(size).convert("RGB"), 0.12))


def folder_pictures(folder: Path) -> list[Path]:
    """Picture files in a folder, by name; folders in it are not searched.

    Raises:
        UserInputError: There is none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
    if not found:
        raise UserInputError(f"There is no picture in {folder}.", f"Known endings are {', '.join(ENDINGS)}.")
    return found


def folder_sha256(folder: Path) -> str:
    """SHA-256 over names and contents of a folder's pictures, as 64 hexadecimal digits.

    Raises:
        UserInputError: There is none, or one cannot be read.
    """
    digest = hashlib.sha256()
    for path in folder_pictures(folder):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(read(path)).digest())
    return digest.hexdigest()


def read(path: Path) -> bytes:
    """A picture file's bytes.

    Raises:
        UserInputError: It cannot be read.
    """
    try:
        return read_limited(path, MOST_PICTURE_BYTES)
    except OSError as error:
        raise UserInputError(f"Cannot read the picture {path}: {error.strerror}.", "Give a readable file.") from error


def resized(picture: bytes, size: tuple[int, int], name: str) -> bytes:
    """The picture stretched to `size` (width, height) pixels, as a JPEG.

    Raises:
        UserInputError: It is not a picture.
    """
    return encoded(decoded(picture, name).resize(size))


def decoded(picture: bytes, name: str) -> Any:
    """A Pillow picture in RGB. `name` is what an error calls it.

    Raises:
        UserInputError: The bytes are not a picture of FORMATS, or one of more pixels than Pillow thinks sound (89 M).
        ModelUnavailable: Pillow is not installed.
    """
    with _named(name):
        return _pillow("Image").open(io.BytesIO(picture), formats=FORMATS).convert("RGB")


def refuse_no_picture(picture: bytes, name: str) -> None:
    """A picture by its header, which is quick; the rest is not looked at. Arguments and errors as of `decoded`."""
    with _named(name):
        _pillow("Image").open(io.BytesIO(picture), formats=FORMATS)


# What Pillow's decoders raise of files that nobody meant: each format checks some of its fields, and computes with all.
UNREADABLE = (OSError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, EOFError, struct.error)


@contextmanager
def _named(name: str) -> Iterator[None]:
    image_module = _pillow("Image")
    too_large = (image_module.DecompressionBombError, image_module.DecompressionBombWarning)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            yield
    except too_large as error:
        raise UserInputError(f"{name} has too many pixels.", "Make it smaller than 89 million pixels.") from error
    except UNREADABLE as error:
        raise UserInputError(f"{name} is not a picture that can be opened.", "Give JPEG or PNG files.") from error


def encoded(picture: Any) -> bytes:
    """A Pillow picture as the bytes of a JPEG."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _colour(rng: random.Random) -> tuple[int, int, int]:
    return int(255 * rng.random()), int(255 * rng.random()), int(255 * rng.random())


def _pillow(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"PIL.{module}")
    except ImportError as error:
        raise ModelUnavailable(
            "Pictures need the package 'pillow', which is not installed here.", "pip install 'energy-harness[models]'"
        ) from error
