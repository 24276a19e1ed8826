"""Pictures: drawn, read from a folder, resized."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

pytest.importorskip("PIL")
from PIL import Image

from harness.errors import UserInputError
from harness.specs import PromptSpec
from harness.tasks.pictures import decoded, drawn, folder_pictures, folder_sha256
from harness.tasks.prompts import load_requests


def pixels(picture: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(picture))
    image.load()
    return image


def save(folder: Path, name: str, colour: tuple[int, int, int], size: tuple[int, int] = (20, 10)) -> Path:
    path = folder / name
    Image.new("RGB", size, colour).save(path)
    return path


def test_a_drawn_picture_is_a_jpeg_of_the_size_asked_for_and_the_same_each_time() -> None:
    assert pixels(drawn(3)).size == (640, 480)
    assert pixels(drawn(3)).format == "JPEG"
    assert pixels(drawn(3, (64, 32))).size == (64, 32)
    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_a_drawn_picture_is_not_flat() -> None:
    for index in range(5):
        low, high = pixels(drawn(index)).convert("L").getextrema()
        assert high - low > 80


def test_a_folder_s_pictures_are_read_by_name_and_other_files_left_alone(tmp_path: Path) -> None:
    save(tmp_path, "b.png", (0, 0, 255))
    save(tmp_path, "a.JPG", (255, 0, 0))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "more.png").mkdir()
    assert [path.name for path in folder_pictures(tmp_path)] == ["a.JPG", "b.png"]
    requests = load_requests(PromptSpec(kind="file", path=str(tmp_path)), "image-classification")
    assert [request.index for request in requests] == [0, 1]
    assert requests[1].picture == (tmp_path / "b.png").read_bytes()
    assert all(request.text == "" for request in requests)


def test_a_folder_without_pictures_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="There is no picture in"):
        load_requests(PromptSpec(kind="file", path=str(tmp_path)), "object-detection")
    with pytest.raises(UserInputError, match="There is no folder of pictures"):
        load_requests(PromptSpec(kind="file", path=str(tmp_path / "none")), "object-detection")


def test_a_folder_s_hash_follows_names_and_contents(tmp_path: Path) -> None:
    path = save(tmp_path, "a.png", (1, 2, 3))
    first = folder_sha256(tmp_path)
    assert len(first) == 64
    assert folder_sha256(tmp_path) == first
    path.rename(tmp_path / "b.png")
    assert folder_sha256(tmp_path) != first
    with pytest.raises(UserInputError, match="has changed"):
        load_requests(PromptSpec(kind="file", path=str(tmp_path), sha256=first), "image-to-text")


def test_pictures_are_brought_to_the_size_asked_for(tmp_path: Path) -> None:
    save(tmp_path, "a.png", (255, 0, 0))
    spec = PromptSpec(kind="file", path=str(tmp_path), picture_size=(640, 480))
    (request,) = load_requests(spec, "image-classification")
    assert request.picture is not None
    image = pixels(request.picture)
    assert image.size == (640, 480)
    red, green, blue = image.getpixel((320, 240))
    assert red > 245
    assert max(green, blue) < 10
    (request,) = load_requests(PromptSpec(count=1, picture_size=(32, 16)), "image-classification")
    assert request.picture is not None
    assert pixels(request.picture).size == (32, 16)


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(UserInputError, match=r"Picture 0 of .* is not a picture"):
        load_requests(PromptSpec(kind="file", path=str(tmp_path), picture_size=(8, 8)), "image-to-text")
    with pytest.raises(UserInputError, match="Picture 5 is not a picture"):
        decoded(b"", "Picture 5")


def test_a_picture_whose_rows_begin_at_a_fraction_is_refused_by_name() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12)).save(buffer, "TIFF")
    broken = buffer.getvalue().replace(b"\x11\x01\x04\x00", b"\x11\x01\x05\x00")  # StripOffsets: LONG -> RATIONAL
    assert broken != buffer.getvalue()
    with pytest.raises(UserInputError, match="tif is not a picture"):
        decoded(broken, "a.tif")


def test_options_of_texts_do_not_apply_to_pictures() -> None:
    with pytest.raises(UserInputError, match="'max_words' does not apply to image-classification"):
        load_requests(PromptSpec(max_words=3), "image-classification")
