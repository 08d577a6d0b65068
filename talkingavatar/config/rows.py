"""Which rows the tables of each method, driver and pretrained network may have, known before one is imported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from talkingavatar.config.names import suggestion
from talkingavatar.config.schema import FitConfig
from talkingavatar.config.stages import seen_by
from talkingavatar.errors import UserError

ATTRIBUTES = ("means", "quats", "scales", "opacities", "sh")
GROUPS = (*ATTRIBUTES, "exposure")  # that every method has
TERMS = ("l1", "dssim", "matte", "normal")  # that every method has
SECTIONS = {"avatar": "method", "driver": "driver", "pretrained": "pretrained"}  # by the kind of stage that they are of


@dataclass(frozen=True)
class Rows:
    groups: tuple[str, ...]  # of everything that has learning rates: rows of `schedule`
    terms: tuple[str, ...]  # of the loss: rows of `loss.terms`, of drivers and the pretrained of `terms`


THGS_GROUPS = ("leb", "saam", "saam_planes", "saam_attention", "skinning", "pose", "expression")
SKIN_TERMS = ("vertex", "height", "lying", "jut", "open")
BOUND_TERMS = (*TERMS, "position", "scale")
LATENT_GROUPS = ("own", "pose", "expression", "shoulders", "mapper", "shape", "residual", "critic")
LATENT_TERMS = (
    "base_l1",
    "base_dssim",
    "perceptual",
    "base_perceptual",
    "consistency",
    "sharp",
    "residual",
    "adversarial",
)

SOUND_GROUPS = ("pose", "shoulders", "deformation", "planes")
UNIT_GROUPS = ("lines", "pose", "expression", "shoulders", "residual", "colour")
UNIT_TERMS = ("perceptual", "residual", "unasked")

ROWS: dict[str, dict[str, Rows]] = {  # by section and by the name in it, as the options; of other packages' none
    "method": {
        "thgs": Rows((*GROUPS, *THGS_GROUPS), (*TERMS, *SKIN_TERMS, "scale", "leb")),
        "flame_rigged": Rows((*GROUPS, "pose", "expression", "shoulders"), (*BOUND_TERMS, *SKIN_TERMS)),
        "motion_latent": Rows((*GROUPS, *LATENT_GROUPS), (*BOUND_TERMS, *SKIN_TERMS, *LATENT_TERMS, "sds")),
        "au_diffusion": Rows((*GROUPS, *UNIT_GROUPS), (*BOUND_TERMS, *SKIN_TERMS, *UNIT_TERMS)),
        "audio_deformed": Rows((*GROUPS, *SOUND_GROUPS), BOUND_TERMS),
        "branch_deformed": Rows((*GROUPS, *SOUND_GROUPS), (*BOUND_TERMS, "motion", "perceptual")),
    },
    "driver": {
        "audio2param": Rows(("network",), ("params", "velocity", "acceleration", "lips", "render")),
        "diffusion": Rows(("network",), ("params", "velocity", "acceleration", "lips")),
    },
    "pretrained": {
        "syncnet": Rows(("network",), ("contrast", "mouth_lips", "mouth_sound")),
        "mesh_code": Rows(("network",), ("own", "others")),
    },
}


def check_rows(config: FitConfig) -> None:
    """Look at the tables of every stage whose rows are known here; a row that nothing reads would never count.

    Raises:
        UserError: an unknown group or term; the nearest is suggested.
    """
    for name, stage in config.stages.items():
        seen, section = seen_by(config, name), SECTIONS[stage.kind]
        part = getattr(seen, section)
        rows = ROWS[section].get(part.name)
        if rows is None:
            continue
        check_names(f"{section}.schedule", part.schedule, "group", rows.groups)
        if section == "method":
            check_names("loss.terms", seen.loss.terms, "term", rows.terms)
        else:
            check_names(f"{section}.terms", part.terms, "term", rows.terms)


def check_names(table: str, rows: Iterable[str], kind: str, known: Iterable[str]) -> None:
    """
    Raises:
        UserError: a row of the table is not among what is known; the nearest is suggested.
    """
    known = sorted(known)
    for name in rows:
        if name not in known:
            expected = f"one of {', '.join(known)}"
            raise UserError(f"{table}.{name}", f"an unknown {kind}", expected, suggestion(name, known))
