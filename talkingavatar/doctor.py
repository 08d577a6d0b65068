"""What is installed, found, checksummed and switched off: python -m talkingavatar.doctor"""

import hashlib
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "torch", "lightning", "gsplat", "smplx", "anny", "numba", "hydra-core", "wandb", "wandb-workspaces", "transformers",
    "torchmetrics", "lpips", "av", "soundfile",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Print the report; 0 when the embedded default can run, 1 otherwise."""
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return 0
    from rich.console import Console
    from rich.table import Table

    console = Console()
    missing = []
    for title, columns, rows in (
        ("packages", ("package", "version"), list(_packages())),
        ("devices and folders", ("what", "found"), list(_surroundings())),
        ("weights and licensed files", ("what", "for", "state", "sha256"), list(_assets())),
    ):
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
            if title == "packages" and row[1] == "missing":
                missing.append(row[0])
        console.print(table)
    verdict = f"cannot fit: {', '.join(missing)} missing" if missing else "the embedded default can be fitted here"
    print(verdict)
    return 1 if missing else 0


def _packages() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "missing"


def _surroundings() -> Iterator[tuple[str, str]]:
    import os

    import torch

    from talkingavatar import paths

    yield "CPU cores", str(len(os.sched_getaffinity(0)))
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: own rasteriser on the CPU"
    yield "CUDA device", cuda
    yield "runs", str(paths.runs_root().absolute())
    yield "own presets ($TALKINGAVATAR_CONF)", str(paths.own_conf() or "not set")
    yield "caches", str(paths.cache_root())
    yield "weights ($TALKINGAVATAR_WEIGHTS)", str(paths.weights_root() or "not set")
    rigs = sorted((paths.cache_root() / "body").glob("open-*"))
    yield "open rig", ", ".join(r.name for r in rigs) or "not built yet: made at the first fit"
    captures = sorted((paths.cache_root() / "captures").glob("speaker-*"))
    trackers = sorted((paths.cache_root() / "environments").glob("mediapipe-*"))
    yield "MediaPipe", ", ".join(t.name for t in trackers) or "not installed yet: made at the first preprocess"
    yield "embedded captures", ", ".join(c.name for c in captures) or "none yet: made at the first fit"


def _assets() -> Iterator[tuple[str, str, str, str]]:
    from talkingavatar.body.assets import known_assets
    from talkingavatar.metrics.identity import find_embedder
    from talkingavatar.metrics.lipsync.syncnet import find_syncnet
    from talkingavatar.networks.perceptual import FILES, find_backbone

    for asset in known_assets():
        wanted = f"{' or '.join(asset.file_names)} ({asset.source})"
        state = str(asset.found) if asset.found else f"off: no {wanted}"
        yield asset.name, asset.purpose, state, (asset.sha256 or "")[:16]
    for name in FILES:
        backbone = find_backbone(name)
        state = str(backbone.path) if backbone.path else f"off: {backbone.why_skipped}"
        yield f"LPIPS {name}", "metrics.lpips", state, _short(backbone.path)
    syncnet, embedder = find_syncnet(), find_embedder()
    state = str(syncnet.path) if syncnet.path else f"off: {syncnet.why_skipped}"
    yield "SyncNet", "evaluate: AO, MD, Conf", state, _short(syncnet.path)
    state = str(embedder.path) if embedder.path else f"off: {embedder.why_skipped}"
    yield "ArcFace", "evaluate: identity", state, _short(embedder.path)
    yield from _speech_models()


def _speech_models() -> Iterator[tuple[str, str, str, str]]:
    """wav2vec 2.0 checkpoints in the hub's cache."""
    from huggingface_hub import constants

    hub = Path(constants.HF_HUB_CACHE)
    found = sorted(p.name for p in hub.glob("models--*wav2vec2*")) if hub.is_dir() else []
    state = ", ".join(found) or f"off: none in {hub}; audio=wav2vec2 audio.path=<folder> works as well"
    yield "wav2vec 2.0", "audio=wav2vec2", state, ""


def _short(path: Path | None) -> str:
    if path is None or not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
