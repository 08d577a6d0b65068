"""Videos that others rendered of a capture's held-out part: how a user names them, and what a folder keeps of that."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.config.arguments import key_values, number, whole_number
from talkingavatar.config.compose import compose
from talkingavatar.config.identity import check_schema
from talkingavatar.config.listing import group_options
from talkingavatar.config.protocol import EXTERNAL
from talkingavatar.config.ranges import SEED
from talkingavatar.config.schema import SCHEMA, FitConfig
from talkingavatar.errors import UserError
from talkingavatar.paths import runs_root, user_path
from talkingavatar.runtime.readers import Unreadable, read_yaml, read_yaml_list

KEYS = ("video", "label", "seed", "fps")  # of a video
SECTIONS = ("data", "body")  # of a fit, that say whose held-out part it shows, and by which body that is looked at
LISTS = (".yaml", ".yml")
ANEW = "give the video to evaluate again"


@dataclass(frozen=True)
class External:
    """A video, or a folder of pictures. `config` tells label (`experiment`), seed, capture and body."""

    video: Path
    fps: float | None  # pictures a second of what does not tell
    config: FitConfig
    body_given: bool = True  # False: that which the capture was tracked with

    @property
    def folder(self) -> Path:
        """Where its numbers lie, beside the runs: the same for the same video, label and capture."""
        config = self.config
        facts = [str(self.video), self.fps, config.experiment, config.seed, asdict(config.data), asdict(config.body)]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", config.experiment)[:60]
        return runs_root() / f"{EXTERNAL}-{name}-s{config.seed}-{digest}"

    def text(self) -> str:
        """As YAML."""
        config = asdict(self.config)
        facts = {name: config[name] for name in ("experiment", "family", "seed", *SECTIONS)}
        return OmegaConf.to_yaml(
            OmegaConf.create({"video": str(self.video), "fps": self.fps, **facts, "schema": SCHEMA})
        )


def is_section(text: str) -> bool:
    """Whether an argument says which capture or body, as in a fit."""
    return text.partition("=")[0].partition(".")[0] in SECTIONS


def externals(given: Mapping[str, str], sections: Sequence[str]) -> list[External]:
    """The video that is named, or those that a YAML file lists; what is said beside the file holds for all of them.

    Args:
        given: of `KEYS`.
        sections: overrides of `SECTIONS`, as of a fit.

    Raises:
        UserError: a mistake in what was given.
    """
    file = user_path(given["video"])
    if file.suffix not in LISTS:
        return [_external(given, sections, Path())]
    try:
        entries = read_yaml_list(file, "write entries of video: and label:")
    except FileNotFoundError as error:
        raise UserError("video", f"{file}: no such file", "a list of videos", "correct the path") from error
    shared = {key: value for key, value in given.items() if key != "video"}
    found = [_listed(f"{file}[{i}]", entry, shared, sections, file.parent) for i, entry in enumerate(entries)]
    folders = [one.folder for one in found]
    if twice := [one for one in found if folders.count(one.folder) > 1]:
        raise UserError("video", f"{file}: {twice[0].video} twice", "each once", "give labels or seeds that differ")
    return found


def _listed(place: str, entry: Any, shared: Mapping[str, str], sections: Sequence[str], base: Path) -> External:
    """An entry of a list, whose paths are as seen from the list."""
    if not isinstance(entry, dict):
        raise UserError(place, repr(entry), "video: and label:", "write both")
    words = [f"{key}={value}" for key, value in entry.items()]
    own = key_values([word for word in words if not is_section(word)], KEYS)
    if "video" not in own:
        raise UserError(place, "no video", "video: and label:", "name it")
    return _external({**shared, **own}, [*sections, *filter(is_section, words)], base)


def _external(given: Mapping[str, str], sections: Sequence[str], base: Path) -> External:
    video = base / user_path(given["video"])
    label = given.get("label") or video.stem
    if label in group_options()["experiment"]:
        raise UserError("label", repr(label), "a name that is no experiment's", "give label=<another>")
    if not sections:
        raise UserError("data.path", "nothing", "the capture whose held-out part it shows", "give data.path=<folder>")
    chosen = [] if any(word.startswith("data=") for word in sections) else ["data=capture"]
    config = compose([*chosen, *sections])
    data = (
        config.data
        if config.data.path is None
        else replace(config.data, path=str(user_path(config.data.path).absolute()))
    )
    seed = whole_number("seed", given.get("seed", "0"), *SEED)
    fps = number("fps", given["fps"], 1, 1000) if "fps" in given else None
    config = FitConfig(experiment=label, family=EXTERNAL, seed=seed, data=data, body=config.body)
    return External(video.absolute(), fps, config, any(word.startswith("body") for word in sections))


def read_external(folder: Path) -> External | None:
    """What a folder holds the numbers of; None where that is a run of ours.

    Raises:
        UserError: it is damaged.
        FileNotFoundError: it has no configuration.
    """
    tree = read_yaml(folder / "config.yaml", ANEW)
    if tree.get("family") != EXTERNAL:
        return None
    check_schema(folder, tree.get("schema"))
    kept = {name: tree.get(name) for name in ("experiment", "family", "seed", *SECTIONS)}
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(FitConfig), kept))
        assert isinstance(config, FitConfig)
        return External(Path(tree["video"]), tree["fps"], config)
    except (OmegaConfBaseException, KeyError, TypeError, ValueError) as error:
        found = str(error).splitlines()[0]
        raise Unreadable(str(folder / "config.yaml"), found, "what evaluate video= writes", ANEW) from error
