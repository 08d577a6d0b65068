"""The version and the words of the metric suite: what each reported key means. Every result file carries both."""

SUITE_VERSION = 2  # raise when a number of the same pictures would change

# By key, or by the part of a key before its last slash.
DEFINITIONS = {
    "psnr": "dB, data range 1, rendered values clamped to [0, 1]; mean over frames",
    "ssim": "torchmetrics, Gaussian window 11, sigma 1.5, data range 1; mean over frames",
    "lpips_alex": "lpips package v0.1, inputs scaled to [-1, 1]; plain here, x 100 in tables",
    "full": "the whole frame on the run's background",
    "matte": "pixels of the ground truth's matte above 0.5",
    "head": "box round the head's vertices, grown by a fifth",
    "head_neck": "square from the crown to half way from neck to collar, shoulders excluded; from the tracked body",
    "mouth": "box round the mouth's landmarks, grown by a fifth",
    "hands": "boxes round both hands, grown by a fifth; mean over the hands that are seen",
    "sync": "SyncNet as published at 25 fps; crops follow the ground truth's face in every video (fixed crop). AO in "
    "frames, positive where sound leads; MD and Conf are distances of its embeddings",
    "mouth_sync": "weight-free: how well the mouth's pixels are foretold by the sound at each shift. Offset in frames "
    "of the capture, signed as AO; r at the offset; confidence in units of chance",
    "lmd": "pixels, landmarks detected alike in render and ground truth. mouth: points 48-67, each set about its own "
    "mean; face: all 68, as they are",
    "lmd_smplx": "pixels, trained frames: projected joints of the fitted body to the true ones, or its keypoints to "
    "those detected",
    "jitter": "RMS of the fourth difference over its gain for white noise: the standard deviation of as much white "
    "noise. Landmarks, mouth and joints in pixels, rotations in degrees, colours at places of the skin in 0 to 255",
    "jitter_ratio": "jitter over the ground truth's own",
    "acceleration_error": "mean distance of second differences to the ground truth's, pixels per frame squared",
    "au": "facial actions estimated alike in render and ground truth. aue: mean squared error summed over lower or "
    "upper face; r: correlation of each action that moves",
    "identity": "mean cosine of ArcFace embeddings of render and ground truth, every fifth frame, aligned alike",
    "view": "rendered from the side, against the true picture from there; degrees in the name",
    "speed": "1 / median seconds of a frame after a warm-up, at the capture's size",
}


def definitions(keys: list[str]) -> dict[str, str]:
    """The words for these metrics."""
    parts = {part for key in keys for part in (*key.split("/"), key.split("_")[0])}
    return {name: text for name, text in DEFINITIONS.items() if name in parts}
