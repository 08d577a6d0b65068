"""A frame is drawn at two moments where something moved while the shutter was open, else at one."""

from dataclasses import replace

import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.data.inputs import moved
from talkingavatar.losses import dssim
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.shutter import blur, moments
from talkingavatar.methods.thgs import THGS
from talkingavatar.splatting.conventions import image_gradient
from talkingavatar.types import Batch, Cameras, DrivingSignal

SIZE, FOCAL, DISTANCE = 64, 60.0, 3.0


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture(scope="module")
def batch(body):
    """The T-pose in the middle of the picture, moving to its left by half a metre per frame."""
    pose = body.zero_pose()
    view = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[2, 3] = DISTANCE
    K = torch.tensor([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]])
    signal = DrivingSignal(torch.tensor([0]), pose, torch.zeros(1, 8, 16, 44))
    plain = torch.full((1, SIZE, SIZE, 3), 0.3)
    motion = replace(signal, pose=replace(pose, transl=torch.tensor([[0.5, 0.0, 0.0]])))
    return Batch(signal, Cameras(view[None], K[None], SIZE, SIZE), plain, plain[..., :1], torch.ones(3), motion)


def test_two_moments_lie_evenly_about_the_signal(batch, body):
    early, late = moments(batch, 0.8, body)
    assert torch.equal((early.pose.transl + late.pose.transl) / 2, batch.signal.pose.transl)
    torch.testing.assert_close(late.pose.transl - early.pose.transl, 0.4 * batch.motion.pose.transl)
    assert early.frame is batch.signal.frame and early.audio is batch.signal.audio


def test_what_hardly_moves_is_drawn_once(batch, body):
    slow = replace(batch.motion, pose=replace(batch.motion.pose, transl=torch.tensor([[0.01, 0.0, 0.0]])))
    still = replace(batch, motion=slow)
    for one in (moments(still, 0.5, body), moments(batch, 0.0, body), moments(replace(batch, motion=None), 0.5, body)):
        assert len(one) == 1 and one[0] is batch.signal


def test_blur_is_the_way_of_the_whole_exposure(batch, body):
    """Sideways motion of v metres a frame is shutter x v x focal / depth pixels, most at the nearest joint."""
    shutter = 0.6
    early, late = (moved(batch.signal, batch.motion, share * shutter) for share in (-0.25, 0.25))
    nearest = DISTANCE - float(body.rest_joints(torch.zeros(1, 10))[0, :, 2].max())
    way = float(blur(early.pose, late.pose, batch, body))
    assert way == pytest.approx(shutter * 0.5 * FOCAL / nearest, rel=1e-3)


def test_joints_outside_the_picture_do_not_count(batch, body):
    aside = replace(batch.signal, pose=replace(batch.signal.pose, transl=torch.tensor([[9.0, 0.0, 0.0]])))
    assert len(moments(replace(batch, signal=aside), 0.5, body)) == 1


def config(shutter: float, *overrides: str):
    return compose(["budget.steps=1000", f"data.size={SIZE}", f"data.shutter={shutter}", *overrides])


def test_a_smeared_picture_is_explained_by_motion(batch, body):
    """The step's loss is that of the mean of both drawings: none at all where the picture is that mean."""

    def loss(shutter: float, picture: torch.Tensor) -> float:
        method = THGS(MethodContext(config(shutter), body, batch.signal.pose, [0], 44, lambda _: batch))
        method.training_step(replace(batch, image=picture), 0)
        return method.scalars.read()["loss/l1"]

    with torch.no_grad():
        method = THGS(MethodContext(config(0.8), body, batch.signal.pose, [0], 44, lambda _: batch))
        drawn = [method.render(method.drive(s), batch.cameras).rgb for s in moments(batch, 0.8, body)]
    smeared = torch.stack(drawn).mean(0)
    assert loss(0.8, smeared) < 1e-6
    assert loss(0.0, smeared) > 1e-3


def test_density_control_hears_of_both_drawings(batch, body):
    settings = config(0.8, "renderer.mode=3dgs")
    method = THGS(MethodContext(settings, body, batch.signal.pose, [0], 44, lambda _: batch))
    method.configure_optimizers()
    method.gaussians["means"].requires_grad_(True)
    method.training_step(replace(batch, image=torch.zeros(1, SIZE, SIZE, 3)), 0).backward()
    ((drawings,),) = method._views
    early, late = (image_gradient(info).norm(dim=-1)[0] for info in drawings)
    assert len(drawings) == 2 and early.any() and late.any()
    gradient, count = method.density.seen(0, [drawings])[:, 0]
    alone = method.density.seen(0, [drawings[:1]])[0, 0]
    assert gradient.sum() > 1.5 * alone.sum() and count.max() == 1


def test_density_control_hears_of_the_error_of_their_mean(batch, body):
    """Shared out over both, in the steps that are asked; its sum is kept in the checkpoint."""
    settings = config(0.8, "density.by=error")
    method = THGS(MethodContext(settings, body, batch.signal.pose, [0], 44, lambda _: batch))
    method.configure_optimizers()
    method.gaussians["means"].requires_grad_(True)
    for step, asked in ((0, True), (1, False)):
        method.step = step
        method.training_step(replace(batch, image=torch.zeros(1, SIZE, SIZE, 3)), 0).backward()
        assert len(method._answers) == asked
        method._control(method.density)
    with torch.no_grad():
        drawn = [method.render(method.drive(s), batch.cameras) for s in moments(batch, 0.8, body)]
        error = dssim(torch.stack([d.rgb for d in drawn]).mean(0), torch.zeros(1, SIZE, SIZE, 3)).mean(-1, keepdim=True)
        most = sum((error * d.alpha).sum() for d in drawn) / 2
    checkpoint = {}
    method.on_save_checkpoint(checkpoint)
    total = checkpoint["density"]["error"].sum()
    assert 0.5 * most < total <= 1.001 * most
