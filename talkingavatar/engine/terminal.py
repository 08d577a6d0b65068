"""The final table in the terminal."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from talkingavatar.engine.experiment import Outcome


def show(outcome: "Outcome") -> None:
    """Held-out metrics by region, speed, pose error, what was skipped and why, and the media files."""
    console = Console(width=None)
    summary = outcome.summary
    metrics = summary["metrics"]
    table = Table(title=f"{summary['experiment']}, {summary['steps']} steps, {summary['wall_s']:.0f} s")
    for column in outcome.table[0] if outcome.table else ["held-out"]:
        table.add_column(column, justify="left" if column == "held-out" else "right")
    for row in outcome.table:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
    fps = {k.removeprefix("speed/").removesuffix("_fps"): v for k, v in metrics.items() if k.endswith("_fps")}
    if fps:
        console.print("frames/s: " + ", ".join(f"{name} {value:.1f}" for name, value in fps.items()))
    for part in ("hands", "body", "face"):
        before, after = (metrics.get(f"train/joints_px/{part}/{name}") for name in ("tracked", "fitted"))
        if before is not None and after is not None:
            console.print(f"{part} joints, trained frames: {before:.2f} px tracked, {after:.2f} px fitted")
    for name, why in summary["skipped"].items():
        console.print(f"{name} skipped: {why}", soft_wrap=True, highlight=False)
    for file in sorted(outcome.run.glob("*.model")):
        console.print(f"weights: {file}", soft_wrap=True, highlight=False)
    for file in sorted((outcome.run / "media").glob("*")):
        console.print(f"media: {file}", soft_wrap=True, highlight=False)
