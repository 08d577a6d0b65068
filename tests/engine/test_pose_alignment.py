"""Aligning a held-out frame's body takes a planted fault of the tracker out, and leaves the face to the method."""

from dataclasses import replace

import torch

from talkingavatar.config.compose import compose
from talkingavatar.engine.build import build_body, build_data, build_method
from talkingavatar.engine.loop.machine import prepare_torch
from talkingavatar.engine.measuring.pose_alignment import aligned_signal
from talkingavatar.metrics.image import psnr


def test_a_planted_fault_is_taken_out():
    config = compose(["debug=one_step", "tracking=none", "trainer.progress=false", "data.tracker_noise=0"])
    prepare_torch(config)
    data = build_data(config)
    method = build_method(config, data, build_body(config)).eval().requires_grad_(False)
    batch = data.batch([data.capture.test_frames[0]])
    with torch.no_grad():
        image = method.render(method.drive(batch.signal), batch.cameras).rgb
        beside = replace(batch.signal.pose, transl=batch.signal.pose.transl + torch.tensor([0.004, -0.003, 0.0]))
        faulty = replace(batch, image=image, signal=replace(batch.signal, pose=beside))
    aligned = aligned_signal(method, faulty)

    def error(signal):
        with torch.no_grad():
            return psnr(method.render(method.drive(signal), batch.cameras).rgb, image)

    assert error(aligned) > error(faulty.signal) + 3
    face = [n for n, name in enumerate(method.body.joint_names) if "jaw" in name or "eye" in name]
    torch.testing.assert_close(aligned.pose.full_pose[:, face], faulty.signal.pose.full_pose[:, face])
    torch.testing.assert_close(aligned.pose.expression, faulty.signal.pose.expression)
    assert not any(p.grad is not None for p in method.parameters())
