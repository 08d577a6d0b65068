"""What prompts in words do to a performance: in the face that is posed, and in the pictures of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from talkingavatar.body.action_units import NAMES, is_named
from talkingavatar.config.emotions import EMOTIONS
from talkingavatar.config.schema import DataConfig
from talkingavatar.data.prompts.ask import FADE
from talkingavatar.engine.measuring.edit_pictures import draw_edits, draw_faces
from talkingavatar.engine.measuring.edited_speech import PROMPTS, STRENGTHS, Edited, EditedSpeech
from talkingavatar.engine.measuring.labelled_takes import emotion_classifier
from talkingavatar.engine.measuring.measure import Findings, Measure, Setting
from talkingavatar.engine.measuring.measures.face_motion import UNNAMED
from talkingavatar.engine.measuring.seen_faces import Seen, SeenFaces
from talkingavatar.errors import UserError
from talkingavatar.metrics.action_units import UNSEEN
from talkingavatar.metrics.edits import edge_roughness, in_order, leak, moves_along, rank_correlation
from talkingavatar.metrics.emotion import phrase_features
from talkingavatar.runtime.progress import track

PICTURES = 8  # of each performance
TOLD = np.array([name not in UNSEEN for name in NAMES])
Levels = dict[str, Float[ndarray, " L"]]  # of the units that a prompt asks for, unedited first


class TextEdits(Measure):
    """Eight prompts at three strengths over held-out speech: `edits/<what>`, and in pictures `edits/seen_<what>`."""

    of_run = True
    keys = ("edits",)
    needs = ("avatar", "edits")
    definitions: ClassVar = {
        "edits": "eight prompts (seven feelings, raised brows) at three strengths over the middle of held-out speech, "
        "performed anew. gain: rise of the units asked for at the highest strength, 0 to 5, mean over prompts; "
        "spearman: their rank correlation with the strength; in_order_percent: prompts of which each strength "
        "beats the one before; told_percent: feelings that, at the highest, emotion/accuracy's classifier tells so; "
        "leak: mean change of units that nothing is asked of, leak_beyond: what of it goes beyond what a true face's "
        "units do together; opening_mm_unedited, opening_mm_edited: distance of the lips' opening from the true one; "
        "lips_percent: change of the opening by an edit, of its mean; edge: greatest second difference that an edit "
        "brings at its edges, by the speech's own greatest; seen_: the same of units and lips detected in pictures, "
        f"without units that landmarks do not tell ({', '.join(UNSEEN)}), landmarks shifted so that unedited speech is "
        "seen as it is posed",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        assert setting.avatar is not None, "it needs one"
        self.avatar = setting.avatar

    def finish(self, found: Findings, truth: Findings) -> Findings:
        try:
            return self._measured()
        except UserError as error:  # features that cannot be made of new sound: a skip, no mistake
            return Findings(skipped={"edits": str(error)})

    @torch.no_grad()
    def _measured(self) -> Findings:
        speech = EditedSpeech(self.avatar, self.held)
        if why := speech.why_not or ("" if is_named(self.avatar.body.expression_names) else UNNAMED):
            return Findings(skipped={"edits": why})
        stairs = {prompt: Stairs(speech, prompt) for prompt in track(PROMPTS, "edits", len(PROMPTS), self._shown)}
        posed = {prompt: stair.levels for prompt, stair in stairs.items()}
        findings = Findings(_graded(posed, "edits/"))
        parts = [stair.numbers() for stair in stairs.values()]
        findings.metrics |= {f"edits/{name}": float(np.mean([part[name] for part in parts])) for name in parts[0]}
        findings.metrics["edits/opening_mm_unedited"] = _opening_error(speech, speech.opening(speech.plain))
        findings.metrics["edits/told_percent"] = _told(list(stairs.values()), self.held.speaker)
        seen = self._seen(speech, stairs, findings)
        if self.setting.folder is not None:
            draw_edits(posed, seen, self.setting.folder / "edits.png")
        return findings

    @property
    def _shown(self) -> bool:
        return self.setting.progress

    def _seen(self, speech: EditedSpeech, stairs: Mapping[str, Stairs], findings: Findings) -> Levels:
        """Levels in the pictures; none where nobody can look."""
        why = self.setting.networks.missing.get("landmarks", "")
        if why or self.held.body.landmark_faces is None:
            findings.skipped["edits/seen"] = why or "the body has no landmarks"
            return {}
        frames = np.linspace(speech.steady.start, speech.steady.stop - 1, PICTURES).round().astype(int).tolist()
        shown = [edit.performance for stair in stairs.values() for edit in stair.edits]
        looked = SeenFaces(self.avatar, speech.plain, frames)
        try:
            for performance in track(shown, "edits, drawn", len(shown), self._shown):
                self.setting.check()
                looked.add(performance)
            seen = looked.finish()
        finally:
            looked.close()
        if self.setting.folder is not None:
            draw_faces(seen.faces, list(stairs), STRENGTHS, self.setting.folder / "edits_faces.png")
        return self._compared(seen, stairs, findings)

    def _compared(self, seen: Seen, stairs: Mapping[str, Stairs], findings: Findings) -> Levels:
        """What the pictures of each prompt show, against those of unedited speech."""
        levels, lips = {}, []
        for number, (prompt, stair) in enumerate(stairs.items()):
            rows = [0, *range(1 + number * len(STRENGTHS), 1 + (number + 1) * len(STRENGTHS))]
            units, openings = seen.units[rows], seen.openings[rows]
            told = stair.raised & TOLD & np.isfinite(units).any((0, 1))
            for name in np.array(NAMES)[stair.raised & ~told]:
                findings.skipped[f"edits/seen_{prompt}_{name}"] = "unseen: landmarks do not tell it"
            if told.any():
                levels[prompt] = np.nanmean(units[..., told], (1, 2))
            lips.append(_changed(openings[0], openings[1:]))
        findings.metrics |= _graded(levels, "edits/seen_") | {"edits/seen_lips_percent": float(np.nanmean(lips))}
        return levels


@dataclass(frozen=True)
class Stairs:
    """One prompt at each strength."""

    speech: EditedSpeech
    prompt: str

    @cached_property
    def edits(self) -> list[Edited]:
        return [self.speech.edited(self.prompt, strength) for strength in STRENGTHS]

    @property
    def raised(self) -> Bool[ndarray, " 17"]:
        """Units that are asked for."""
        return self.edits[-1].raised

    @cached_property
    def units(self) -> Float[ndarray, "L T 17"]:
        """Unedited first."""
        performances = [self.speech.plain, *(edit.performance for edit in self.edits)]
        return np.stack([self.speech.units(performance) for performance in performances])

    @property
    def strongest(self) -> Float[ndarray, "t 17"]:
        """Units of the face that is asked for most, while it is."""
        return self.units[-1, self.speech.steady]

    @cached_property
    def means(self) -> Float[ndarray, "L 17"]:
        """Over the frames in which the edit is wholly there."""
        return self.units[:, self.speech.steady].mean(1)

    @property
    def levels(self) -> Float[ndarray, " L"]:
        return self.means[:, self.raised].mean(1)

    def numbers(self) -> dict[str, float]:
        """What else an edit does, mean over strengths."""
        speech, raised = self.speech, self.raised
        spared = ~(raised | self.edits[-1].calmed)
        along = moves_along(speech.true_units, raised)
        leaks = np.mean([leak(mean - self.means[0], raised, spared, along) for mean in self.means[1:]], 0)
        openings = [speech.opening(edit.performance) for edit in self.edits]
        reach = round(FADE * speech.held.fps)
        rough = [edge_roughness(self.units[0], units, speech.edges, reach) for units in self.units[1:]]
        part = speech.steady
        return {
            "leak": float(leaks[0]),
            "leak_beyond": float(leaks[1]),
            "opening_mm_edited": float(np.mean([_opening_error(speech, opening) for opening in openings])),
            "lips_percent": _changed(speech.opening(speech.plain)[part], np.stack(openings)[:, part]),
            "edge": float(np.mean(rough)),
        }


def _graded(levels: Levels, ahead: str) -> dict[str, float]:
    """How far units rise, and whether they do with the strength."""
    if not levels:
        return {}
    gains = {prompt: float(values[-1] - values[0]) for prompt, values in levels.items()}
    return {
        f"{ahead}gain": float(np.mean(list(gains.values()))),
        f"{ahead}spearman": float(np.mean([rank_correlation(values) for values in levels.values()])),
        f"{ahead}in_order_percent": 100 * float(np.mean([in_order(values) for values in levels.values()])),
        **{f"{ahead}gain_{prompt}": gain for prompt, gain in gains.items()},
    }


def _told(stairs: Sequence[Stairs], speaker: DataConfig | None) -> float:
    """Per cent of the feelings that are told as such, at the highest strength."""
    felt = [stair for stair in stairs if stair.prompt in EMOTIONS]
    classifier = emotion_classifier(None if speaker is None else speaker.seed)
    told = classifier.told(np.stack([phrase_features(stair.strongest) for stair in felt]))
    return 100 * float(np.mean([EMOTIONS[number] == stair.prompt for number, stair in zip(told, felt, strict=True)]))


def _opening_error(speech: EditedSpeech, opening: Float[ndarray, " T"]) -> float:
    """Millimetres, where an edit is wholly there."""
    return 1e3 * float(np.abs(opening - speech.true_opening)[speech.steady].mean())


def _changed(opening: Float[ndarray, " T"], edited: Float[ndarray, "L T"]) -> float:
    """Per cent of the mean opening."""
    return 100 * float(np.nanmean(np.abs(edited - opening)) / max(float(np.nanmean(opening)), 1e-6))
