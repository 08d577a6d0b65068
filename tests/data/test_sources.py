"""What is known of captures before there are any."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from talkingavatar.audio.features import RATE
from talkingavatar.audio.speech import load_speech
from talkingavatar.config import schema
from talkingavatar.config.compose import compose
from talkingavatar.config.schema import DataConfig
from talkingavatar.data.sources import SOURCES, source_of
from talkingavatar.errors import UserError


def test_each_is_known_to_the_configuration():
    assert SOURCES.keys() == schema.SOURCES.keys() and DataConfig.name in SOURCES


def test_what_a_source_needs_is_asked_for_at_once():
    with pytest.raises(UserError, match=r"data\.path: found nothing; expected a capture folder"):
        compose(["data=capture"])


def test_titles_are_told_without_a_capture(tmp_path):
    assert source_of(DataConfig(identity=2)).title(DataConfig(identity=2)) == "speaker-2"
    capture = DataConfig(name="capture", path="someone")
    assert source_of(capture).title(capture, tmp_path) == "someone"
    (tmp_path / "someone").mkdir()
    (tmp_path / "someone" / "capture.json").write_text(json.dumps({"name": "Ada"}))
    assert source_of(capture).title(capture, tmp_path) == "Ada"
    assert source_of(capture).title(DataConfig(name="capture")) is None


def test_the_embedded_speaker_goes_on_where_the_capture_ends():
    data = compose(["data.seconds=4"]).data
    speech = load_speech(data.identity)
    heard = source_of(data).unheard(data, 8.0)
    assert heard is not None and len(heard) == 4 * RATE  # no longer than the capture
    assert np.array_equal(heard, speech.excerpt(4.0, 8.0).samples)
    assert SOURCES["capture"].unheard(replace(data, name="capture"), 8.0) is None


def test_only_the_embedded_source_has_other_people():
    data = DataConfig(seconds=4)
    assert [other.identity for other in source_of(data).people(data, [0, 2])] == [0, 2]
    recorded = replace(data, name="capture", path="x")
    assert source_of(recorded).people(recorded, [0, 2]) == [recorded]


def test_names_are_told_without_torch():
    words = "import sys, talkingavatar.data.sources; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
