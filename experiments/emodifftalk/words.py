"""Words that the lexicon has and has not, on speech that an avatar was trained on and not: words.py <run>

Rise of the units a feeling asks for, 0 to 5, at the highest of three strengths; whether each strength beats the one
before; change of the lips' opening. New words were taken before anything was measured: the first of a list of synonyms
that conf/text lacks. They need the extra `text`, which places them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from talkingavatar.engine.fitted import load_run
from talkingavatar.engine.measuring import edited_speech
from talkingavatar.engine.measuring.edited_speech import EditedSpeech
from talkingavatar.engine.measuring.held_out import some_held_out
from talkingavatar.engine.measuring.measures.text_edits import Stairs
from talkingavatar.metrics.edits import in_order

KNOWN = ("happy", "sad", "angry", "surprised", "afraid", "disgusted", "contempt")
NEW = ("ebullient", "lachrymose", "choleric", "flummoxed", "timorous", "noisome", "disparaging")  # for these, in turn


def row(speech: EditedSpeech, prompt: str, of: str) -> tuple[float, bool, float]:
    """Rise, order and change of the opening (per cent) of a prompt, in the units that `of` asks for."""
    raised = Stairs(speech, of).raised
    stairs = Stairs(speech, prompt)
    levels = stairs.means[:, raised].mean(1)
    return float(levels[-1] - levels[0]), bool(in_order(levels)), stairs.numbers()["lips_percent"]


@torch.no_grad()
def main(run: Path) -> None:
    trained = load_run(run)
    data, body = trained.data, trained.body
    edited_speech.PROMPTS.update({word: f"{{}} {word}" for word in NEW})
    train, test = data.capture.train_frames, data.capture.test_frames
    known = [frame for frame in range(train[0], train[-1] + 1) if frame not in test]  # and those between them
    for frames, what in ((known, "known frames"), (test, "new frames")):
        speech = EditedSpeech(trained, some_held_out(data, body, frames))
        for words, kind in ((KNOWN, "known words"), (NEW, "new words")):
            rows = [row(speech, word, of) for word, of in zip(words, KNOWN, strict=True)]
            gain, order, lips = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
            each = ", ".join(f"{word} {value:.2f}" for word, value in zip(words, gain, strict=True))
            ordered = f"{order.sum():.0f} of {len(order)} in order"
            print(f"{kind}, {what}: rise {gain.mean():.2f}, {ordered}, lips {lips.mean():.1f} % ({each})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
