"""Licensed files that are used when they are found. Importable without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from talkingavatar import paths
from talkingavatar.runtime.files import sha256

GENDERS = ("neutral", "male", "female")
_REGISTRATION = "research licence, after registration at"
_CORRESPONDENCE = "SMPL-X__FLAME_vertex_ids.npy"


@dataclass(frozen=True)
class Asset:
    """One file the platform can use and may not ship."""

    name: str
    purpose: str
    source: str  # licence, and where it is to be had
    file_names: tuple[str, ...]
    looked_in: tuple[Path, ...]
    found: Path | None
    sha256: str | None


def model_file_names(kind: str, gender: str) -> tuple[str, ...]:
    """Names the published files carry, preferred first; `kind` is "smplx" or "flame"."""
    upper = gender.upper()
    if kind == "smplx":
        return (f"SMPLX_{upper}.npz", f"SMPLX_{upper}_2020.npz", f"SMPLX_{upper}.pkl")
    if gender == "neutral":
        return ("FLAME_NEUTRAL.pkl", "generic_model.pkl", "flame2023.pkl", "flame2023_no_jaw.pkl")
    return (f"FLAME_{upper}.pkl", f"{gender}_model.pkl")


def search_folders() -> tuple[Path, ...]:
    """`$TALKINGAVATAR_WEIGHTS`, `weights` in the cache, and the usual folders below the working directory."""
    given = paths.weights_root()
    usual = (paths.cache_root() / "weights", Path("models"), Path("body_models"), Path("assets"))
    return (given, *usual) if given else usual


def find_file(names: tuple[str, ...], folders: tuple[Path, ...] | None = None) -> Path | None:
    """The first of `names` in the folders or up to two levels below them."""
    for folder in search_folders() if folders is None else folders:
        for name in names:
            for pattern in (name, f"*/{name}", f"*/*/{name}"):
                if matches := sorted(file for file in folder.glob(pattern) if file.is_file()):
                    return matches[0]
    return None


def correspondence_file(folders: tuple[Path, ...] | None = None) -> Path | None:
    """Which SMPL-X vertex each of FLAME's 5,023 vertices is."""
    return find_file((_CORRESPONDENCE,), folders)


def known_assets() -> list[Asset]:
    """Everything that is looked for, found or not; found files are hashed."""
    return list(_known_assets())


def _known_assets() -> Iterator[Asset]:
    for gender in GENDERS:
        names = model_file_names("smplx", gender)
        yield _look(f"SMPL-X {gender}", "body=smplx", f"{_REGISTRATION} smpl-x.is.tue.mpg.de", names)
    for gender in GENDERS:
        names = model_file_names("flame", gender)
        yield _look(f"FLAME {gender}", "body=flame", f"{_REGISTRATION} flame.is.tue.mpg.de", names)
    yield _look(
        "SMPL-X to FLAME vertex ids",
        "exact head mask and lip rings of body=smplx (else from skinning weights and landmarks)",
        f"{_REGISTRATION} smpl-x.is.tue.mpg.de (MANO and FLAME correspondences)",
        (_CORRESPONDENCE,),
    )
    yield _look(
        "FLAME landmark embedding",
        "68 landmarks of body=flame",
        f"{_REGISTRATION} flame.is.tue.mpg.de",
        ("landmark_embedding.npy", "flame_static_embedding.pkl"),
    )


def _look(name: str, purpose: str, source: str, file_names: tuple[str, ...]) -> Asset:
    found = find_file(file_names)
    return Asset(name, purpose, source, file_names, search_folders(), found, sha256(found) if found else None)
