"""What others have published and a program may fetch: from the official place into the usual cache."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.request import urlopen

from talkingavatar.audio.wav2vec2 import DEFAULT as WAV2VEC2
from talkingavatar.engine.fetching.download import download
from talkingavatar.errors import UserError
from talkingavatar.paths import cache_root
from talkingavatar.preprocessing.landmarks.mediapipe_process import interpreter
from talkingavatar.runtime.files import sha256


@dataclass(frozen=True)
class Published:
    """Something to fetch. `fetch` gives where it lies then, and does nothing where it lies there already."""

    title: str
    licence: str
    fetch: Callable[[], Path]


def by_name() -> dict[str, Published]:
    """By the word `doctor fetch=` knows it by."""
    backbones = {
        "lpips" if name == "alex" else f"lpips_{name}": Published(
            f"LPIPS {name}", "BSD 3-Clause (torchvision)", partial(_backbone, name)
        )
        for name in BACKBONES
    }
    return backbones | {
        "syncnet": Published("SyncNet", "MIT (syncnet_python)", _syncnet),
        "wav2vec2": Published("wav2vec 2.0", f"Apache 2.0 ({WAV2VEC2})", _wav2vec2),
        "arcface": Published("ArcFace", "non-commercial research only (InsightFace buffalo_l)", _arcface),
        "mediapipe": Published("MediaPipe", "Apache 2.0, by pip", lambda: interpreter(print)),
    }


# File and SHA-256, by LPIPS's name of the backbone.
BACKBONES = {
    "alex": ("alexnet-owt-7be5be79.pth", "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),
    "vgg": ("vgg16-397923af.pth", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),
    "squeeze": ("squeezenet1_1-b8a52dc0.pth", "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b"),
}
SYNCNET = "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442"
ARCFACE = "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"
BUFFALO = "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f"
DIGESTS = {*(digest for _, digest in BACKBONES.values()), SYNCNET, ARCFACE}


def _backbone(name: str) -> Path:
    import torch

    file, digest = BACKBONES[name]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return download(f"https://download.pytorch.org/models/{file}", folder / file, digest)


def _syncnet() -> Path:
    file = cache_root() / "weights" / "syncnet_v2.model"
    return download(f"https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/{file.name}", file, SYNCNET)


def _arcface() -> Path:
    """The embedder alone, out of InsightFace's pack."""
    folder = Path.home() / ".insightface" / "models" / "buffalo_l"
    file = folder / "w600k_r50.onnx"
    if file.is_file() and sha256(file) == ARCFACE:
        return file
    url = "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip"
    packed = download(url, folder / "buffalo_l.zip", BUFFALO)
    with zipfile.ZipFile(packed) as opened:
        part = folder / f"{file.name}.part"
        part.write_bytes(opened.read(file.name))
    part.replace(file)
    packed.unlink()
    return file


def _wav2vec2() -> Path:
    """The checkpoint's two files in the hub's cache, by the hub's own client; `$HF_ENDPOINT` names another hub."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        urlopen(constants.ENDPOINT, timeout=10).close()  # the client tries for half a minute, with a page of warnings
        _, weights = (Path(hf_hub_download(WAV2VEC2, file)) for file in ("config.json", "pytorch_model.bin"))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        action = "try again (what has come is kept), or copy the hub's cache from another machine"
        raise UserError(WAV2VEC2, f"no connection to the hub ({cause})", "the model there", action) from error
    blob = weights.resolve()  # the hub names a large file by its SHA-256
    if len(blob.name) == 64 and sha256(blob) != blob.name:
        blob.unlink()
        raise UserError(str(weights), "other bytes than the hub has", f"SHA-256 {blob.name}", "fetch it again")
    return weights.parent
