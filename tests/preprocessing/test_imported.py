"""A capture that was imported, on its way to a tracked one."""

import numpy as np
import pytest

from talkingavatar.data.capture import Manifest, Span
from talkingavatar.errors import UserError
from talkingavatar.preprocessing import decode
from talkingavatar.preprocessing.imported import is_capture, published_split, write_film
from tests.data.published import imported
from tests.data.test_adnerf import COUNT, write


def test_the_film_of_a_capture_loses_nothing(tmp_path):
    capture = imported("adnerf", tmp_path, path=write(tmp_path / "may"))
    write_film(capture, tmp_path / "film.mkv", lambda title, total: lambda: None)
    film = decode.probe(tmp_path / "film.mkv")
    shown = list(decode.pictures(film, 25.0))
    assert film.rate == 25 and len(shown) == COUNT and is_capture(str(capture.folder))
    assert all(np.array_equal(picture, capture.frame(i)) for i, picture in enumerate(shown))
    assert np.allclose(decode.sound(film, 0, COUNT / 25), capture.audio, atol=1e-4)


def manifest(train, test, unusable=()):
    return Manifest("may", 25.0, 16, 16, 20, train, test, unusable=list(unusable))


def test_a_published_split_stays():
    split = published_split(manifest([Span(0, 4), Span(6, 10)], [Span(12, 20)], [13]), "may")
    assert split.usable(split.train) == [0, 1, 2, 3, 6, 7, 8, 9]
    assert split.usable(split.test) == [12, 14, 15, 16, 17, 18, 19]
    with pytest.raises(UserError, match="one after the other"):
        published_split(manifest([Span(0, 4), Span(10, 12)], [Span(5, 8)]), "may")
