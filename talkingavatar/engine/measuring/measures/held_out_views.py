"""What cameras aside of the first see: those never trained on, or those that are asked for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from talkingavatar.data.visible_mesh import VisibleMesh
from talkingavatar.engine.measuring.held_out import evenly
from talkingavatar.engine.measuring.measure import Findings, Measure, Setting
from talkingavatar.engine.measuring.truth_above_render import Pair, strip, strips
from talkingavatar.geometry.cameras import eyes, orbit, project
from talkingavatar.metrics.image import ImageMetrics
from talkingavatar.metrics.silhouette import silhouettes, within
from talkingavatar.runtime.progress import ProgressBar
from talkingavatar.splatting import to_bytes

FRAMES = 4  # of each view
ROUND = ("30", "60", "90", "180", "300", "330")  # of a recording that has no such camera: degrees
WORN = 0.1  # metres that clothes and hair may stand off a body


class HeldOutViews(Measure):
    """PSNR, SSIM, LPIPS and silhouettes by cameras aside, as `view_<name>/<metric>`, and a picture of them.

    Of a few frames, under the condition `full` alone, in the true pose where it is known: it is the avatar that is
    looked at from aside, not the tracker. A condition with a `view` measures all frames of its own, as tracked.
    """

    version = 3
    keys = ("view",)
    needs = ("avatar", "plain")
    definitions: ClassVar = {
        "view": "by a camera never trained on, or one asked for, named behind it (of the embedded speaker: degrees "
        "from the front, round by the person's left), in the true pose where it is known",
        "view_<name>/overlap": "intersection over union of the avatar's silhouette and the true one",
        "view_<name>/holes_percent": "as for expressions, over the whole picture",
        "view_<name>/spikes_percent": "likewise; of a recording without such a camera, in its calmest frame against "
        "the body's own outline, and more than 10 cm from that",
    }

    @classmethod
    def missed(cls, setting: Setting) -> tuple[str, ...]:
        return tuple(f"view_{name}" for name in _chosen(setting))

    def finish(self, found: Findings, truth: Findings) -> Findings:
        capture = self.held.pictures.capture
        there, chosen = capture.manifest.views[1:], _chosen(self.setting)
        known = {view: capture.seen_by(view, self.held.frames) for view in chosen if view in there}
        frames = {view: evenly(few, FRAMES) for view, few in known.items() if few}
        round_it = not capture.manifest.test_views
        orbited = {view: float(view) for view in chosen if round_it and view not in there and view.isdecimal()}
        why = f"no pictures by such a camera; there are {', '.join(there) or 'none'}"
        findings = Findings(skipped={f"view_{view}": why for view in chosen if view not in frames})
        pairs: list[Pair] = []
        with ProgressBar("held-out views", sum(map(len, frames.values())), self.setting.progress) as bar:
            for view, few in frames.items():
                findings.metrics |= self._by(view, few, bar, pairs)
        if pairs and self.setting.folder is not None:
            strip(pairs, f"held-out views: {', '.join(frames)}", self.setting.folder / "views.png")
        if orbited:
            findings.metrics |= self._round(orbited)
        return findings

    def _round(self, degrees: dict[str, float]) -> dict[str, float]:
        """The silhouette of the calmest frame against that of the body, seen from all round it."""
        avatar, held = self.setting.avatar, self.held
        assert avatar is not None
        i = held.calmest
        camera, pose = held.pictures.capture.cameras([held.frames[i]]), held.pose[[i]]
        gaussians = avatar.method.drive(
            avatar.method.reposed(avatar.data.signal([held.frames[i]]), pose).to(avatar.method.device)
        )
        vertices, mesh = held.body(pose)[0], VisibleMesh(held.body.faces)
        place = project(vertices, camera)[0] / torch.tensor([camera.width, camera.height])
        centre, vertices = vertices[0, ((place > 0) & (place < 1)).all(-1)].mean(0), vertices[0]
        far = WORN * float(camera.Ks[0, 0, 0]) / float((eyes(camera.viewmats)[0] - centre).norm())
        found, shown = {}, []
        for view, angle in degrees.items():
            # The camera goes to the person's left, so the world turns to their right.
            seen = orbit(camera, centre, -math.radians(angle))
            drawn, outline = (
                avatar.method.render(gaussians, seen.to(avatar.method.device)),
                mesh.outline(vertices, seen),
            )
            compared = silhouettes(drawn.alpha[0, ..., 0].cpu(), outline, around=within(outline, far))
            found[f"view_{view}/holes_percent"] = 100 * compared.holes
            found[f"view_{view}/spikes_percent"] = 100 * compared.spikes
            shown.append((to_bytes((1 - outline / 2)[..., None].expand(-1, -1, 3)), to_bytes(drawn.rgb[0])))
        if self.setting.folder is not None:
            pictures = dict(zip(degrees, shown, strict=True))
            strips(pictures, len(pictures), self.setting.folder / "views.png", "the body's outline")
        return found

    def _by(self, view: str, frames: list[int], bar: ProgressBar, pairs: list[Pair]) -> dict[str, float]:
        avatar = self.setting.avatar
        assert avatar is not None
        method, batch = avatar.method, avatar.data.batch(frames, view=view)
        if (truth := avatar.data.capture.true_pose(frames, avatar.data.model)) is not None:
            batch = replace(batch, signal=method.reposed(batch.signal, truth))
        images, outlines = ImageMetrics(self.setting.networks.family("lpips_")), []
        for i in range(len(frames)):
            seen = batch.frame(i).to(method.device)
            image = seen.image[0].clamp(0, 1)
            drawn = method.render(method.drive(seen.signal), seen.cameras)
            images.add(drawn.rgb[0], image, {})
            outlines.append(silhouettes(drawn.alpha[0, ..., 0], seen.matte[0, ..., 0]))
            if i == 0:
                pairs.append((to_bytes(image), to_bytes(drawn.rgb[0])))
            bar.advance()
        holes, spikes, overlap = np.mean(outlines, 0).tolist()
        found = {key.replace("full/", ""): value for key, value in images.means().items()}
        found |= {"holes_percent": 100 * holes, "spikes_percent": 100 * spikes, "overlap": overlap}
        return {f"view_{view}/{key}": value for key, value in found.items()}


def _chosen(setting: Setting) -> tuple[str, ...]:
    """The views that are asked for."""
    if setting.options.views is not None:
        return setting.options.views
    data = setting.held.data
    return () if data is None else tuple(data.capture.manifest.test_views) or ROUND
