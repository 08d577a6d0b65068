"""Pictures of all kinds, read as they are meant to be seen."""

import numpy as np
import pytest
from PIL import Image

from talkingavatar.config.preprocess import PreprocessConfig
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.portrait import preprocess_portrait, read_portrait

RED = np.zeros((140, 160, 3), np.uint8)
RED[:70] = (200, 40, 30)


def test_a_picture_is_read_as_it_is_meant_to_be_seen(tmp_path):
    picture = Image.fromarray(RED)
    picture.save(tmp_path / "plain.png")
    assert np.array_equal(read_portrait(tmp_path / "plain.png"), RED)

    turned = Image.Exif()
    turned[0x0112] = 6  # the top lies at the right
    picture.save(tmp_path / "turned.png", exif=turned)
    assert np.array_equal(read_portrait(tmp_path / "turned.png"), np.rot90(RED, -1))

    picture.convert("CMYK").save(tmp_path / "inks.tif")
    assert np.abs(read_portrait(tmp_path / "inks.tif").astype(int) - RED).max() <= 2

    grey = np.tile(np.linspace(0, 65535, 160).astype(np.uint16), (140, 1))
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert np.abs(read_portrait(tmp_path / "deep.png") - grey[..., None] / 257.0).max() <= 0.5

    clear = picture.convert("RGBA")
    clear.putalpha(0)
    clear.save(tmp_path / "clear.png")
    assert (read_portrait(tmp_path / "clear.png") == 255).all()


def test_what_is_no_portrait_is_refused(tmp_path):
    frames = [Image.fromarray(RED), Image.fromarray(RED[::-1])]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (1, 1)).save(tmp_path / "point.png")
    (tmp_path / "text.png").write_text("no picture")
    for name, found in {"moves.gif": "2 pictures", "point.png": "1 x 1", "text.png": "not to be read",
                        "absent.png": "nothing there"}.items():  # fmt: skip
        with pytest.raises(UserError, match=found):
            read_portrait(tmp_path / name)


def test_what_lies_in_the_folder_is_not_written_over(tmp_path):
    Image.fromarray(RED).save(tmp_path / "plain.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "audio.flac").write_text("mine")
    given = PreprocessConfig(portrait=str(tmp_path / "plain.png"), out=str(tmp_path / "out"))
    with pytest.raises(UserError, match="made by something else"):
        preprocess_portrait(given, lambda *_: lambda: None, VideoWriter)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["audio.flac"]
