"""Pictures of what prompts do: how far what is asked for rises with the strength, and the faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.engine.measuring.edited_speech import STRENGTHS
from talkingavatar.engine.media.end_of_fit import label
from talkingavatar.runtime.files import whole

ACROSS = 4  # panels


def draw_edits(posed: Mapping[str, Float[ndarray, " L"]], seen: Mapping[str, Float[ndarray, " L"]], file: Path) -> None:
    """Of each prompt, the mean of the units asked for over the strengths: as posed, and as detected in pictures."""
    from matplotlib.figure import Figure

    rows = -(-len(posed) // ACROSS)
    figure = Figure(figsize=(2.6 * ACROSS, 2.2 * rows), layout="constrained")
    panels = figure.subplots(rows, ACROSS, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, (prompt, levels) in zip(panels, posed.items(), strict=False):
        axes.plot(levels, "o-", label="posed")
        if prompt in seen:
            axes.plot(seen[prompt], "s--", label="seen in pictures")
        axes.set(title=prompt, ylim=(0, 5))
        axes.set_xticks(range(1 + len(STRENGTHS)), ["no edit", *(strength or "plain" for strength in STRENGTHS)])
        axes.tick_params(axis="x", rotation=30)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    with whole(file) as temporary:
        figure.savefig(temporary, dpi=100)


def draw_faces(
    faces: Sequence[UInt8[ndarray, "H W 3"]], prompts: Sequence[str], strengths: Sequence[str], file: Path
) -> None:
    """A row a prompt: unedited, and at each strength.

    Args:
        faces: the unedited one, then those of each prompt.
    """
    across = len(strengths)
    rows = []
    for number, prompt in enumerate(prompts):
        shown = [faces[0], *faces[1 + number * across : 1 + (number + 1) * across]]
        words = ["no edit", *(f"{strength} {prompt}".strip() for strength in strengths)]
        rows.append(np.concatenate([label(face, word) for face, word in zip(shown, words, strict=True)], 1))
    with whole(file) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary)
