"""Sound through a pipe is the sound of the file."""

import io

import numpy as np
import pytest
import soundfile

from talkingavatar.audio.incoming import Incoming
from talkingavatar.errors import UserError

RATE = 44_100
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)


def pipe(content: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(content))


def wav(subtype: str, channels: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.stack([TONE] * channels, 1), RATE, subtype=subtype, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize(("subtype", "channels"), [("PCM_16", 1), ("PCM_32", 2), ("FLOAT", 3)])
def test_a_wav_comes_block_by_block_at_both_rates(subtype, channels):
    incoming = Incoming(pipe(wav(subtype, channels)))
    blocks = list(incoming)
    assert len(blocks) > 20 and incoming.seconds == pytest.approx(0.5)
    for number, rate in enumerate((16_000, 48_000)):
        come = np.concatenate([block[number] for block in blocks])
        assert len(come) == rate // 2
        expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(come)) / rate)
        np.testing.assert_allclose(come[100:-100], expected[100:-100], atol=1e-3)


def test_a_length_that_is_not_known_is_the_pipes_and_one_that_is_ends_the_sound():
    content = bytearray(wav("PCM_16", 1))
    place = content.index(b"data") + 4
    for size, seconds in (((1 << 32) - 1, 0.5), (0, 0.5), (RATE // 2, 0.25)):
        content[place : place + 4] = size.to_bytes(4, "little")
        incoming = Incoming(pipe(bytes(content)))
        assert sum(len(block.heard) for block in incoming) == round(16_000 * seconds)


def test_bare_samples_are_16_bits_at_16_khz():
    samples = np.arange(-500, 500, dtype="<i2")
    blocks = list(Incoming(pipe(samples.tobytes() + b"x")))  # half a sample is none
    np.testing.assert_allclose(np.concatenate([block.heard for block in blocks]), samples / 32768, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no sound"), (b"RIFF", "damaged"), (b"RIFFxxxxWAVEfmt ", "damaged"), (b"fLaC1234", "another kind"),
        (wav("PCM_24", 1), "24 bits"),
    ],
)  # fmt: skip
def test_what_is_no_sound_is_said(content, found):
    with pytest.raises(UserError, match=f"audio: found .*{found}"):
        Incoming(pipe(content))
