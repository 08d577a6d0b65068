"""The list of measures. Each sees what those above it found."""

from __future__ import annotations

from collections.abc import Iterable

from talkingavatar.engine.measuring.measure import Measure, Networks, Options
from talkingavatar.engine.measuring.measures.avatar_lips import AvatarLips
from talkingavatar.engine.measuring.measures.body_distance import BodyDistance, PoseError
from talkingavatar.engine.measuring.measures.driver_motion import DriverMotion
from talkingavatar.engine.measuring.measures.driver_samples import DriverSamples
from talkingavatar.engine.measuring.measures.emotion_accuracy import EmotionAccuracy
from talkingavatar.engine.measuring.measures.face_identity import FaceIdentity
from talkingavatar.engine.measuring.measures.face_landmarks import LandmarkDistance, Landmarks
from talkingavatar.engine.measuring.measures.face_motion import FaceMotion
from talkingavatar.engine.measuring.measures.facial_actions import FacialActions
from talkingavatar.engine.measuring.measures.fit_cost import FitCost
from talkingavatar.engine.measuring.measures.gaussian_facts import GaussianFacts
from talkingavatar.engine.measuring.measures.held_out_views import HeldOutViews
from talkingavatar.engine.measuring.measures.jitter import MotionJitter, RelativeJitter, SkinFlicker
from talkingavatar.engine.measuring.measures.picture_quality import PictureQuality
from talkingavatar.engine.measuring.measures.sharpness import Sharpness
from talkingavatar.engine.measuring.measures.speed import Speed
from talkingavatar.engine.measuring.measures.sync_scores import MouthAndSound, SyncNetScores
from talkingavatar.engine.measuring.measures.text_edits import TextEdits
from talkingavatar.engine.measuring.measures.unfilmed_faces import UnfilmedFaces

MEASURES: list[type[Measure]] = [
    PictureQuality,
    Sharpness,
    MouthAndSound,
    SyncNetScores,
    FaceIdentity,
    SkinFlicker,
    Landmarks,
    MotionJitter,
    RelativeJitter,
    LandmarkDistance,
    FacialActions,
    AvatarLips,
    DriverMotion,
    FaceMotion,
    DriverSamples,
    EmotionAccuracy,
    Speed,
    FitCost,
    GaussianFacts,
    BodyDistance,
    HeldOutViews,
    UnfilmedFaces,
    PoseError,
    TextEdits,
]


def find_networks(measures: Iterable[type[Measure]], options: Options) -> Networks:
    """All that the measures look for, once for all runs.

    Raises:
        UserError: a file is there but is not what its name says, or what was named is not there.
    """
    return Networks({name: found for measure in measures for name, found in measure.find(options).items()})


def versions(measures: Iterable[type[Measure]]) -> dict[str, int]:
    """What a number of the same frames depends on besides what is at hand."""
    return {measure.__name__: measure.version for measure in measures}


def definitions(keys: Iterable[str], measures: Iterable[type[Measure]]) -> dict[str, str]:
    """The words for these metrics."""
    parts = {part for key in keys for part in (*key.split("/"), key.split("_")[0])}
    words = {name: text for measure in measures for name, text in measure.definitions.items()}
    return {name: text for name, text in words.items() if name in parts}
