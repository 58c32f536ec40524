"""Image files are read as the pixels that they show, or reported by name."""

import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from musigma.data import ImageFolderDataModule
from musigma.data.image_files import is_image_file, read_files
from shapes import coloured_shapes, write_folder
from workbench.errors import DataError

SHAPE = (3, 32, 32)
IMAGES, _ = coloured_shapes(20)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"no image"), r"a\.png cannot be read as an image"),
        (
            lambda path: Image.fromarray(np.zeros((32, 32), np.uint16)).save(path),
            r"a\.png holds I;16 pixels: save it with 8 bits",
        ),
    ],
)
def test_a_file_that_is_not_an_8_bit_image_is_named(make, message, tmp_path):
    make(tmp_path / "a.png")
    with pytest.raises(DataError, match=message):
        read_files([tmp_path / "a.png"], SHAPE, resize=True)


def _png(width, height):
    """A PNG whose header declares this size; its pixels are missing."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for body in (b"IHDR" + header, b"IDAT" + zlib.compress(bytes(99))):
        data += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_a_decompression_bomb_is_named(side, tmp_path):
    write_folder(tmp_path, IMAGES)
    (tmp_path / "big.png").write_bytes(_png(side, side))
    data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE)
    with pytest.raises(DataError, match=r"big\.png has more than the 89,478,485 pixels"):
        data.setup("fit")


def _whole(tmp_path, ending, **settings):
    path = tmp_path / f"whole.{ending}"
    Image.fromarray(IMAGES[0].permute(1, 2, 0).numpy()).save(path, **settings)
    return path.read_bytes()


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tiff", "webp"])
@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"text"])
def test_a_damaged_image_of_any_format_is_named(ending, damage, tmp_path):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(damage(_whole(tmp_path, ending)))
    with pytest.raises(DataError, match=rf"a\.{ending} cannot be read as an image"):
        read_files([path], SHAPE, resize=True)


@pytest.mark.parametrize("place", range(8, 300, 9))
def test_a_png_with_a_flipped_byte_is_read_or_a_data_error(place, tmp_path):
    data = bytearray(_whole(tmp_path, "png"))
    data[place] ^= 255
    (tmp_path / "a.png").write_bytes(data)
    with suppress(DataError):
        read_files([tmp_path / "a.png"], SHAPE, resize=True)


def test_a_broken_link_is_named(tmp_path):
    write_folder(tmp_path, IMAGES)
    (tmp_path / "gone.png").symlink_to("/nowhere/a.png")
    with pytest.raises(DataError, match=r"gone\.png cannot be read as an image: .*No such file"):
        ImageFolderDataModule(path=tmp_path, image_shape=SHAPE).setup("fit")


def test_postscript_in_place_of_an_image_is_not_run(tmp_path):
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image: cannot identify"):
        read_files([tmp_path / "a.png"], SHAPE, resize=True)
    assert not is_image_file(tmp_path / "a.eps")


@pytest.mark.parametrize("ending", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", [*range(1, 9), 99])
def test_photos_are_turned_upright_by_their_exif_orientation(ending, orientation, tmp_path):
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16], picture[:, :24, 1] = (200, 0, 0), 100
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"a.{ending}"
    lossless = {"webp": {"lossless": True}, "jpg": {"quality": 100}}.get(ending, {})
    Image.fromarray(picture).save(path, exif=exif, **lossless)
    with Image.open(path) as file:
        upright = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    (found,) = read_files([path], (3, *upright.shape[:2]), resize=False)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), upright)
    assert (upright.shape[0] == 48) == (5 <= orientation <= 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_pixel_mode_is_read_as_the_colours_it_shows(mode, tmp_path):
    picture = Image.new("RGB", (32, 32), (255, 255, 255))
    picture.paste((0, 0, 0), (0, 0, 16, 32))
    ending = {"CMYK": "jpg"}.get(mode, "png")
    picture.convert(mode).save(tmp_path / f"a.{ending}")
    (found,) = read_files([tmp_path / f"a.{ending}"], SHAPE, resize=False)
    expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    torch.testing.assert_close(found.int(), expected.int(), atol=3, rtol=0)


def test_an_animations_first_frame_and_a_transparent_palette_are_read(tmp_path):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    palette = frames[0].convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "b.png", transparency=bytes([9, 99]))
    found = read_files([tmp_path / "a.gif", tmp_path / "b.png"], SHAPE, resize=False)
    assert found.amax((2, 3)).tolist() == [[250, 0, 0]] * 2
