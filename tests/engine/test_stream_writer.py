"""What is written as it comes is seen and heard at its time."""

import os

import av
import numpy as np
import pytest

from talkingavatar.engine.media.stream import RATE, StreamWriter

FPS, FRAMES, FLASH, GONE = 25.0, 50, 25, 30


def written(target) -> None:
    """A white frame with a click, and after it one that is missing."""
    sound = np.zeros(RATE * 2, np.float32)
    sound[round(FLASH / FPS * RATE)] = 1
    with StreamWriter(target, FPS, 33, 32) as writer:
        for number, samples in enumerate(np.split(sound, FRAMES)):
            writer.hear(samples)
            if number != GONE:
                writer.show(number, np.full((32, 33, 3), 255 * (number == FLASH), np.uint8))


@pytest.mark.parametrize("piped", [False, True])
def test_a_flash_is_seen_when_its_click_is_heard(tmp_path, piped):
    file = tmp_path / "film.mp4"
    if piped:
        with file.open("wb") as pipe:
            written(pipe.fileno())
    else:
        written(file)
    assert [one.name for one in tmp_path.iterdir()] == ["film.mp4"]
    with av.open(str(file)) as container:
        assert ("matroska" in container.format.name) == piped
        frames = {
            round(frame.time * FPS, 3): frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)
        }
    assert sorted(frames) == [number for number in range(FRAMES) if number != GONE]
    assert max(frames, key=frames.__getitem__) == FLASH
    with av.open(str(file)) as container:
        blocks = [(frame.time, frame.to_ndarray()[0].astype(float)) for frame in container.decode(audio=0)]
    clicked, samples = max(blocks, key=lambda block: np.abs(block[1]).max())
    assert clicked + np.abs(samples).argmax() / RATE == pytest.approx(FLASH / FPS, abs=1e-3)


def test_a_pipe_that_nobody_reads_ends_it():
    reader, pipe = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        written(pipe)
    os.close(pipe)
