"""The on-disk capture format, version 2: one person's recorded performance, seen by one or several cameras.

```
<capture>/
  capture.json               format, version, name, fps, size, frames, views, splits, body, provenance (`Manifest`)
  frames/<view>/000000.png   8-bit RGB, the subject composited on `background`; the only view of one camera is "front"
  mattes/<view>/000000.png   8-bit coverage of the subject
  confidence/<view>/...      8-bit, where frames were made and not filmed: how far each pixel may be believed
  audio.flac                 16 kHz mono, as long as the video
  cameras.npz                viewmats (V, 1 or T,4,4) world to camera in OpenCV axes, Ks (V, 1 or T,3,3) pixels
  smplx.npz                  as tracked: betas (S), expression (T,E), full_pose (T,55,3), transl (T,3), the names of
                             expressions; keypoint_offsets (137,3), where known: from the body's keypoints to the
                             detector's, at rest
  flame.npz                  the same of FLAME's 5 joints; one of both is there, or both
  landmarks.npz              points (T,68,3) in the first view: x, y in pixels, confidence
  regions.npz                boxes (T,4) in the first view, pixels, x0 y0 x1 y1, of head, mouth, left_hand,
                             right_hand; NaN where unseen
  actions.npz                facial actions, where known: names (A), values (T,A), scale (`Table`)
  emotion.npz, motion.npz    alike: share of each emotion that a frame is labelled with, a motion's latent
  aus.npz                    alike: OpenFace's 17 action units, 0 to 5 (`data.action_units` reads them, or makes them)
  features/<kind>.npy        audio windows (T,16,C) on the video clock, made on first use
  keypoints.npz              what was seen: `preprocessing.keypoints.Keypoints`, where the capture was made from a video
  background.png             the first view's scene without the person, where it could be made
  truth/                     the same tables with true values, where they are known; read by evaluation only
```

Everything is on the video clock: row t of every table belongs to frame t, at t / fps seconds. A recording that was cut
has several shots; frames on both sides of a cut are not neighbours, and no audio window reaches across one. Frames are
trained on and held out by spans, so that whole sentences can be held out; views, by name. A view that is held out need
not have a picture of every frame. `writer.CaptureWriter` is the one place that writes all this.
"""

from talkingavatar.data.capture.manifest import FRONT, Manifest, Span, paper_split
from talkingavatar.data.capture.reader import RATE, Capture, Model
from talkingavatar.data.capture.tables import PARAMETERS, REGIONS, Table
from talkingavatar.data.capture.writer import CaptureWriter

__all__ = [
    "FRONT",
    "PARAMETERS",
    "RATE",
    "REGIONS",
    "Capture",
    "CaptureWriter",
    "Manifest",
    "Model",
    "Span",
    "Table",
    "paper_split",
]
