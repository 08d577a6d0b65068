"""A dashboard as W&B's own workspace and report: written down as JSON to be looked through, and published."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talkingavatar.engine.tracking.login import logged_in
from talkingavatar.errors import UserError
from talkingavatar.tables.dashboard import Dashboard, Panel, Section

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

PLACE = re.compile(r"[\w.-]+/[\w.-]+")
WIDTH, HEIGHT, ACROSS = 8, 6, 3  # of a panel in a report, whose line is 24 wide
MOST_RUNS = 100  # drawn in one panel


def require_login(place: str) -> None:
    """
    Args:
        place: entity/project.

    Raises:
        UserError: no such form, or not logged in.
    """
    if not PLACE.fullmatch(place):
        raise UserError("publish", repr(place), "entity/project", "e.g. publish=my_team/talkingavatar")
    if not logged_in():
        action = "run `wandb login`, or set $WANDB_API_KEY (and not WANDB_MODE); dashboard=true only writes it down"
        raise UserError("publish", "not logged in to W&B", "an API key", action)


def write(content: Dashboard, file: Path) -> None:
    """Write workspace and report down as they would go to a server, and where they were published.

    Raises:
        UserError: the file cannot be written.
    """
    tree = {"workspace": _tree(_workspace(content, "", "")), "report": _tree(_report(content, "", ""))}
    try:
        file.write_text(json.dumps(_stable(tree) | {"published": _published(file)}, indent=1) + "\n")
    except OSError as error:
        raise UserError("out", f"{file}: {error.strerror}", "a file that can be written", "choose another") from error


def publish(content: Dashboard, file: Path, place: str) -> tuple[str, str]:
    """Save both on the server, over what was published there before; the addresses of workspace and report.

    Args:
        file: that `write` wrote.
        place: entity/project.

    Raises:
        UserError: the server does not take them.
    """
    entity, project = place.split("/")
    published = _published(file)
    try:
        workspace, report = _workspace(content, entity, project), _report(content, entity, project)
        if known := published.get(place):
            workspace._internal_name, workspace._internal_id = known["name"], known["workspace"]
            report.id = known["report"]
        report.save()
        workspace.save()
    except Exception as error:  # W&B's own, its transport's and pydantic's have no base in common
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        action = "look at the entity, the project and your key"
        raise UserError("publish", reason, f"a server that takes it as {place}", action) from error
    ids = {"name": workspace._internal_name, "workspace": workspace._internal_id, "report": report.id}
    written = json.loads(file.read_text()) | {"published": published | {place: ids}}
    file.write_text(json.dumps(written, indent=1) + "\n")
    return workspace.url, report.url


def _published(file: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(file.read_text())["published"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _workspace(content: Dashboard, entity: str, project: str) -> Workspace:
    import wandb_workspaces.workspaces as ws

    wanted = (
        ws.Metric("Group").isin(list(content.groups)) if content.groups else ws.Metric("ID").isin(list(content.ids))
    )
    order = [ws.Ordering(ws.Config("experiment")), ws.Ordering(ws.Config("seed"))]
    columns = [*map(_config_column, content.config_columns), *(f"summary:{key}" for key in content.number_columns)]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=content.name,
        sections=[
            ws.Section(name=s.title, panels=[_panel(s, p) for p in s.panels], is_open=s.open) for s in content.sections
        ],
        settings=ws.WorkspaceSettings(max_runs=min(MOST_RUNS, max(10, len(content.ids)))),
        runset_settings=ws.RunsetSettings(
            filters=[wanted], groupby=[ws.Config("experiment")], order=order, pinned_columns=columns
        ),
    )


def _report(content: Dashboard, entity: str, project: str) -> Report:
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = [wr.TableOfContents(), *(wr.P(fact) for fact in content.facts)]
    if content.tables:
        blocks += [wr.H2("Tables"), *map(wr.MarkdownBlock, content.tables)]
    for section in (section for section in content.sections if section.open):
        panels = [_panel(section, panel) for panel in section.panels]
        blocks += [wr.H2(section.title), wr.PanelGrid(runsets=[_runset(content, entity, project)], panels=panels)]
    return wr.Report(entity=entity, project=project, title=content.name[:128], blocks=blocks, width="fluid")


def _runset(content: Dashboard, entity: str, project: str) -> Any:
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2 as wr

    name = expr.Metric("Group") if content.groups else expr.Metric("ID")
    return wr.Runset(
        entity=entity,
        project=project,
        name=content.name,
        filters=[name.isin(list(content.groups or content.ids))],
        groupby=["config.experiment"],
        pinned_columns=[
            *map(_config_column, content.config_columns),
            *(f"summary:{k}" for k in content.number_columns),
        ],
    )


def _config_column(key: str) -> str:
    """`data.identity` as the run table calls it."""
    first, *rest = key.split(".")
    return "config:" + ".".join([first, "value", *rest])


def _panel(section: Section, panel: Panel) -> Any:
    import wandb_workspaces.reports.v2 as wr

    place = section.panels.index(panel)
    wide = panel.kind in ("media", "table", "differences")
    layout = (
        wr.Layout(0, 2 * HEIGHT * place, ACROSS * WIDTH, 2 * HEIGHT)
        if wide
        else wr.Layout(WIDTH * (place % ACROSS), HEIGHT * (place // ACROSS), WIDTH, HEIGHT)
    )
    made: Any
    if panel.kind == "lines":
        made = wr.LinePlot(title=panel.title, x="Step", y=list(panel.keys), layout=layout)
    elif panel.kind == "bars":
        made = wr.BarPlot(
            title=panel.title, metrics=list(panel.keys), groupby=wr.Config("experiment"),
            groupby_aggfunc="mean", groupby_rangefunc="stddev", layout=layout,
        )  # fmt: skip
    elif panel.kind == "media":
        made = wr.MediaBrowser(
            title=panel.title, media_keys=list(panel.keys), grid_x_axis="run", grid_y_axis="index", layout=layout
        )
    elif panel.kind == "table":
        made = wr.WeavePanelSummaryTable(table_name=panel.keys[0], layout=layout)
    else:
        made = wr.RunComparer(diff_only="split", layout=layout)
    return made


def _tree(made: Any) -> Any:
    """As it goes to the server."""
    return made._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)


def _stable(tree: Any, place: str = "") -> Any:
    """The same without W&B's random names, so that two files differ only where the dashboards do."""
    if isinstance(tree, dict):
        return {
            key: _named(place + key) if key in ("id", "__id__") and value else _stable(value, f"{place}{key}.")
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [_stable(value, f"{place}{number}.") for number, value in enumerate(tree)]
    return tree


def _named(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:12]
