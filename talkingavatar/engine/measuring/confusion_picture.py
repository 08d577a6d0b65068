"""A picture of which emotions are taken for which."""

from __future__ import annotations

from pathlib import Path

from talkingavatar.config.emotions import EMOTIONS
from talkingavatar.engine.measuring.measure import Findings
from talkingavatar.engine.measuring.measures.emotion_accuracy import CONFUSION
from talkingavatar.runtime.files import whole


def draw_confusion(found: Findings, folder: Path | None, condition: str) -> None:
    """`emotions_<condition>.png`: phrases by the emotion they are labelled with (rows) and told as (columns)."""
    table = found.tables.get(CONFUSION)
    if table is None or folder is None:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(table, cmap="Blues", vmin=0)
    places = range(len(EMOTIONS))
    axes.set_xticks(places, EMOTIONS, rotation=45, ha="right")
    axes.set_yticks(places, EMOTIONS)
    axes.set(title=f"emotion of each phrase, {condition}", xlabel="told from the face", ylabel="labelled")
    for row, column in zip(*table.nonzero(), strict=True):
        dark = table[row, column] > 0.6 * table.max()
        axes.text(column, row, str(table[row, column]), ha="center", va="center", color="white" if dark else "black")
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / f"emotions_{condition}.png") as temporary:
        figure.savefig(temporary, dpi=100)
