"""The on-disk capture format: one person's recorded performance.

```
<capture>/
  capture.json         format, version, name, fps, width, height, frames, splits, body, provenance (see `Manifest`)
  frames/000000.png    8-bit RGB, the subject composited on `background`
  mattes/000000.png    8-bit coverage of the subject
  audio.flac           16 kHz mono, as long as the video
  cameras.npz          viewmats (1 or T,4,4) world to camera in OpenCV axes, Ks (1 or T,3,3) pixels
  smplx.npz            as tracked: betas (S), expression (T,E), full_pose (T,55,3), transl (T,3), expression_names;
                       keypoint_offsets (137,3), where known: from the body's keypoints to the detector's, at rest
  flame.npz            the same of FLAME's 5 joints; one of both is there, or both under one camera
  landmarks.npz        points (T,68,3): x, y in pixels, confidence
  regions.npz          boxes (T,4) in pixels, x0 y0 x1 y1, of head, mouth, left_hand, right_hand; NaN where unseen
  aus.npz              names, values (T,A): facial actions, where known
  features/<kind>.npy  audio windows (T,16,C) on the video clock, made on first use
  keypoints.npz        what was seen: `preprocessing.keypoints.Keypoints`, where the capture was made from a video
  background.png       the scene without the person, where it could be made
  truth/               the same files with true parameters, where they are known; read by evaluation only
```

Everything is on the video clock: row t of every table belongs to frame t, at t / fps seconds. A recording that was cut
has several shots; frames on both sides of a cut are not neighbours, and no audio window reaches across one.
"""

from talkingavatar.data.capture.manifest import Manifest, paper_split
from talkingavatar.data.capture.reader import RATE, REGIONS, Capture, Model

__all__ = ["RATE", "REGIONS", "Capture", "Manifest", "Model", "paper_split"]
