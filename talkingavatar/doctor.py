"""What is installed, found, checksummed and switched off: python -m talkingavatar.doctor"""

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "torch", "lightning", "gsplat", "smplx", "anny", "numba", "hydra-core", "wandb", "wandb-workspaces", "transformers",
    "torchmetrics", "lpips", "av", "soundfile",
)  # fmt: skip

KERNELS, OFF = "gsplat's CUDA kernels", "off: "

HELP = """What is installed, found, checksummed and switched off; and what may be fetched.

  python -m talkingavatar.doctor
  python -m talkingavatar.doctor fetch=lpips,wav2vec2

  fetch      what its licence lets a program fetch, with commas between, from the official place into the usual cache;
             checksummed, continued where it was cut:
{published}

SMPL-X and FLAME ask for a registration of your own: the table says where, and where their files are looked for.
Exit codes: 0, 1 the embedded default cannot be fitted here, 2 something could not be fetched or was misspelt."""


def main(arguments: list[str]) -> int:
    """Fetch what was asked for, or print the report; the exit code."""
    from talkingavatar.runtime.command import ended

    return ended(lambda: _doctor(arguments))


def _doctor(arguments: list[str]) -> int:
    from talkingavatar.config.arguments import key_values

    if "--help" in arguments or "-h" in arguments:
        print(_help())
        return 0
    given = key_values(arguments, ("fetch",))
    return fetch(given["fetch"].split(",")) if given else report()


def fetch(names: list[str]) -> int:
    """Fetch each; what fails does not keep the others from being tried. The exit code.

    Raises:
        UserError: one of the names is unknown: nothing is fetched then.
    """
    from talkingavatar.config.arguments import choice
    from talkingavatar.engine.fetching.published import by_name
    from talkingavatar.errors import UserError

    published, failed = by_name(), False
    for name in names:
        choice("fetch", name, list(published))
    for name in names:
        part = published[name]
        print(f"{part.title}: {part.licence}", flush=True)
        try:
            print(f"{part.title}: {part.fetch()}", flush=True)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return 2 if failed else 0


def _help() -> str:
    from talkingavatar.engine.fetching.published import by_name

    lines = (f"               {name:<14} {part.title}: {part.licence}" for name, part in by_name().items())
    return HELP.format(published="\n".join(lines))


def report() -> int:
    """Print the tables; 0 when the embedded default can run, 1 otherwise."""
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
            if (title == "packages" and row[1] == "missing") or (row[0] == KERNELS and row[1].startswith(OFF)):
                missing.append(row[0] if title == "packages" else f"{row[0]} (trainer=cpu needs none)")
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
    there = torch.cuda.is_available()
    yield "CUDA device", torch.cuda.get_device_name() if there else "none: own rasteriser on the CPU"
    if there:
        yield KERNELS, _kernels()
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


def _kernels() -> str:
    """Loads gsplat's kernels, compiling them first where nobody has, and compares what they draw."""
    from talkingavatar.errors import UserError
    from talkingavatar.splatting.agreement import check_agreement

    try:
        return f"ready; within {check_agreement('cuda'):.1g} of the plain rasteriser"
    except UserError as error:
        return f"{OFF}{error}"


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
    yield from _word_encoder()
    yield from _animators()


def _animators() -> Iterator[tuple[str, str, str, str]]:
    """LivePortrait and its driver from sound, and what serves where they are not."""
    from talkingavatar.data.portrait.ditto import find_ditto
    from talkingavatar.data.portrait.joyvasa import find_joyvasa
    from talkingavatar.networks.live_portrait.files import NETWORKS, find_live_portrait

    files, joyvasa, ditto = find_live_portrait(), find_joyvasa(), find_ditto()
    untried = "never run with published weights, only with random ones of their shapes"
    folders = ", ".join(sorted({str(path.parent) for path in files.paths.values()}))
    state = f"off: {files.why_skipped}; source=mesh_code serves" if files.missing else f"{folders} ({untried})"
    first = files.paths.get(next(iter(NETWORKS)))
    yield "LivePortrait", "preprocess portrait=... source=liveportrait", state, _short(first)
    for name, driver, file in (("JoyVASA", joyvasa, joyvasa.generator), ("Ditto", ditto, ditto.denoiser)):
        state = f"{file} ({untried})" if driver.found else f"off: {driver.why_skipped}; motion=<capture> serves"
        yield name, "LivePortrait from sound", state, _short(file)


def _word_encoder() -> Iterator[tuple[str, str, str, str]]:
    """What places the words of a prompt that the lexicon lacks."""
    from talkingavatar.data.prompts.placing import FOLDER, encoder_folder

    folder = encoder_folder()
    state = f"off: no folder {FOLDER}; the words of conf/text serve" if folder is None else str(folder)
    yield FOLDER, "drive emotion=...", state, _short(folder and folder / "model.safetensors")


def _speech_models() -> Iterator[tuple[str, str, str, str]]:
    """wav2vec 2.0 checkpoints in the hub's cache."""
    from huggingface_hub import constants

    hub = Path(constants.HF_HUB_CACHE)
    found = sorted(p.name for p in hub.glob("models--*wav2vec2*")) if hub.is_dir() else []
    state = ", ".join(found) or f"off: none in {hub}; doctor fetch=wav2vec2 gets it, audio.path=<folder> works as well"
    yield "wav2vec 2.0", "audio=wav2vec2", state, ""


def _short(path: Path | None) -> str:
    """The checksum's first digits, and whether they are those of the file as published."""
    from talkingavatar.engine.fetching.published import DIGESTS
    from talkingavatar.runtime.files import sha256

    if path is None or not path.is_file():
        return ""
    digest = sha256(path)
    return digest[:16] + (", as published" if digest in DIGESTS else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
