"""OpenFace's 17 action units of a capture: its own table, what OpenFace saw, or what its facial actions say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.action_units import INTENSITY, JAW_OPEN, NAMES, action_units, is_named
from talkingavatar.data.capture import Capture, Table
from talkingavatar.errors import UserError

JAW_JOINT = 22  # of SMPL-X
ACTION = "take the embedded speaker, or preprocess a video with landmarks=openface"


def unit_table(
    actions: Float[ndarray, "T A"], names: Sequence[str], jaw: Float[ndarray, " T"], scale: float = 1.0
) -> Table:
    """Intensities 0 to 5 of all units, in OpenFace's order.

    Args:
        actions: facial actions, 0 to `scale`.
        jaw: how far its joint is turned, radians; it opens the mouth as the action "jawOpen" does.

    Raises:
        UserError: actions without the names of ARKit.
    """
    shares = np.array(actions, np.float64) / scale
    if "jawOpen" in names:
        place = list(names).index("jawOpen")
        shares[:, place] = np.maximum(shares[:, place], jaw / JAW_OPEN)
    units = action_units(shares, names)
    return Table(list(NAMES), np.stack([units[name] for name in NAMES], 1).astype(np.float32), INTENSITY)


def read_action_units(capture: Capture, truth: bool = False) -> Table:
    """Of every frame (T,17), 0 to 5, in OpenFace's order; as tracked, or (for evaluation only) as they are.

    Raises:
        UserError: the capture knows none, or its table has other units or intensities than OpenFace's.
    """
    table = known_action_units(capture, truth)
    if table is None:
        place = capture.folder / "truth" if truth else capture.folder
        expected = "aus.npz, or actions.npz of OpenFace or ARKit"
        raise UserError("data.path", f"{place}: no action units", expected, ACTION)
    return table


def known_action_units(capture: Capture, truth: bool = False) -> Table | None:
    """As `read_action_units`; None where the capture knows none.

    Raises:
        UserError: its table has other units or intensities than OpenFace's.
    """
    place = capture.folder / "truth" if truth else capture.folder
    actions, every = capture.table("actions", truth), list(range(capture.manifest.frames))
    for name, table in (("aus", capture.table("aus", truth)), ("actions", actions)):
        if table is not None and (name == "aus" or "AU01" in table.names):
            return _checked(table, f"{place / name}.npz")
    if actions is None or not is_named(actions.names):
        return None
    pose = capture.true_pose(every) if truth else capture.pose(every)
    jaw = None if pose is None else pose.full_pose[:, JAW_JOINT, 0].numpy()
    return None if jaw is None else unit_table(actions.values, actions.names, jaw, actions.scale)


def _checked(table: Table, file: str) -> Table:
    """In OpenFace's order, whatever the file's."""
    if missing := [name for name in NAMES if name not in table.names]:
        raise UserError(f"{file}:names", f"no {missing[0]}", ", ".join(NAMES), ACTION)
    values = table.values[:, [table.names.index(name) for name in NAMES]] * (INTENSITY / table.scale)
    outside = (values < 0) | (values > INTENSITY)
    if outside.any():
        frame, unit = np.argwhere(outside)[0]
        found = f"{list(NAMES)[unit]} is {values[frame, unit]:g} in frame {frame}"
        raise UserError(f"{file}:values", found, f"0 to {INTENSITY:g}", ACTION)
    return Table(list(NAMES), values, INTENSITY)
