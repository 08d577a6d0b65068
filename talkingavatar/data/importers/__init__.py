"""Published datasets as captures. `FORMATS` names what reads each; `Options` is what they are told."""

from __future__ import annotations

from collections.abc import Callable

from talkingavatar.data.importers.adnerf import read_adnerf
from talkingavatar.data.importers.clip import ImportedClip, Options, write_clip
from talkingavatar.data.importers.emotalk3d import read_emotalk3d
from talkingavatar.data.importers.renderme360 import read_renderme360
from talkingavatar.data.importers.thgs import read_thgs
from talkingavatar.data.importers.vhap import read_vhap

FORMATS: dict[str, Callable[[Options], ImportedClip]] = {
    "thgs": read_thgs,
    "vhap": read_vhap,
    "emotalk3d": read_emotalk3d,
    "renderme360": read_renderme360,
    "adnerf": read_adnerf,
}

__all__ = ["FORMATS", "ImportedClip", "Options", "write_clip"]
