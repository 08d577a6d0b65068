"""The embedded default: one frontal picture of an embedded speaker, moved; made on first use, nothing is fetched.

The speaker does not exist and is drawn, so that the rig of the picture is known and a true picture of every frame can
be made, from the front and from aside: what no photograph allows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch

from talkingavatar import __version__
from talkingavatar.audio.speech import load_speech
from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.body.models import load_body
from talkingavatar.config.schema import DataConfig
from talkingavatar.data.mesh_motion import FPS
from talkingavatar.data.portrait.mesh_warp import SHIPPED, MeshWarp
from talkingavatar.data.portrait.portrait import Portrait, before_camera
from talkingavatar.data.portrait.record import RECORD_VERSION, Still, Truth, write_portrait
from talkingavatar.data.portrait.script import script_of
from talkingavatar.data.speaker.body_motion import perform
from talkingavatar.data.speaker.identity import portrait_name
from talkingavatar.data.speaker.record import SPEAKER_VERSION, check_room
from talkingavatar.data.speaker.scene import SpeakerScene
from talkingavatar.paths import cache_root
from talkingavatar.runtime.files import sha256
from talkingavatar.runtime.sealed import made_once
from talkingavatar.types import BodyPose

FRAMING = "head"  # of the speaker
TRUE = "true"  # the view that shows what the portrait's frames should have shown
SIDES = (20, 35, 50, 310, 325, 340)  # degrees from the front, to the left, of true views
DECISIVE = ("identity", "frames", "size", "heldout")  # fields of the configuration that the capture depends on


def portrait_capture(config: DataConfig, progress: Callable[[str, int], Callable[[], None]]) -> Path:
    """The folder of an embedded speaker's portrait that moves, made if it is not there yet.

    `progress(title, total)` returns what is called after each frame.

    Raises:
        UserError: more frames than the bank has, or the pictures are too large.
    """

    def make(folder: Path) -> None:
        check_room(config.size, config.frames, folder)
        source = MeshWarp(FaceMesh(load_body("open")))
        script = script_of(source, config.frames)
        scene = SpeakerScene(config.identity, config.size, config.size, FRAMING)
        views = {TRUE: scene.camera()} | {str(angle): scene.side_camera(float(angle)) for angle in SIDES}
        told = {"identity": config.identity, "portrait": f"{scene.who.name}, drawn by talkingavatar {__version__}",
                "speaker_version": SPEAKER_VERSION, "consent": "nobody: the person does not exist"}  # fmt: skip
        still, truth = drawn_still(scene, source.mesh), Truth(script.rig(source.mesh), views)
        tick = progress("moving the portrait", len(script))
        write_portrait(folder, portrait_name(config.identity), source, still, script, config.heldout, tick, told, truth)

    name = f"{portrait_name(config.identity)}-{_digest(config)}"
    return made_once(cache_root() / "captures" / name, make)


def drawn_still(scene: SpeakerScene, mesh: FaceMesh) -> Still:
    """The speaker at rest, upright and looking into the distance behind the camera."""
    zeros = torch.zeros(3)
    pose, head = _resting(scene, mesh), torch.from_numpy(scene.joints[mesh.head]).float()
    picture, matte = scene.render(pose.full_pose[0].numpy(), zeros.numpy(), pose.expression[0].numpy())
    K, viewmat = (torch.from_numpy(matrix) for matrix in scene.camera())
    shaped = torch.from_numpy(scene.shaped[scene.full.body_to_full]).float()[mesh.rows]
    portrait = Portrait(picture, matte, K.numpy(), shaped - head, before_camera(shaped, viewmat.float()))
    return Still(portrait, pose, viewmat.float())


def _resting(scene: SpeakerScene, mesh: FaceMesh) -> BodyPose:
    """Arms as a speaker holds them, all that carries or moves the head straight."""
    pose = mesh.body.zero_pose()
    arms = perform(load_speech(0).excerpt(0.0, 1.0), 1, FPS, 0).full_pose[0]
    pose.full_pose[0] = torch.from_numpy(arms)
    pose.full_pose[0, [*_carrying(mesh), *mesh.joints]] = 0.0
    betas = torch.from_numpy(scene.betas).float()
    return BodyPose(betas[None], pose.expression, pose.full_pose, pose.transl)


def _carrying(mesh: FaceMesh) -> list[int]:
    """Joints from the head down to the root."""
    joints, joint = [], mesh.head
    while joint >= 0:
        joints.append(joint)
        joint = int(mesh.body.parents[joint])
    return joints


def _digest(config: DataConfig) -> str:
    """Of all that decides the bytes of the capture."""
    kept = {field: getattr(config, field) for field in DECISIVE}
    kept |= {"speaker": SPEAKER_VERSION, "record": RECORD_VERSION, "code": sha256(SHIPPED)}
    kept |= {"rig": load_body("open").checksum}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:10]
