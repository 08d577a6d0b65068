"""A package imports only from layers above its own (see README, "Layout")."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import talkingavatar

PACKAGE = Path(talkingavatar.__file__).parent
LAYERS = [
    {"types", "errors", "paths"},
    {"runtime"},
    {"config", "geometry"},
    {"splatting", "body", "audio"},
    {"networks"},
    {"losses", "metrics"},
    {"data"},
    {"training"},
    {"methods", "drivers", "pretrained", "preprocessing"},
    {"engine"},
    {"exporters", "viewer", "tables", "launch"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
COMMANDS = len(LAYERS)
ONLY = {
    "websockets": {"viewer"},
    "gsplat": {"splatting"},
    "smplx": {"body"},
    "anny": {"body"},
    "wandb": {"engine", "tables"},
    "wandb_workspaces": {"tables"},
}
NO_TORCH = {"config", "launch", "tables", "errors", "paths", "runtime"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def name_of(file):
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def part_of(file):
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imported(file):
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_follow_the_layers(file):
    part = part_of(file)
    level = LEVEL.get(part, COMMANDS)
    for name in imported(file):
        top, *rest = name.split(".")
        if top in ONLY:
            assert part in ONLY[top], f"{name} in {part}"
        if top == "torch":
            assert part not in NO_TORCH, f"{name} in {part}"
        if top == "talkingavatar" and rest and rest[0] != part and rest[0] != "__version__":
            assert LEVEL.get(rest[0], COMMANDS) < level, f"{part} imports {name}"


def test_every_package_has_a_layer():
    packages = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert packages <= LEVEL.keys()


def test_no_module_imports_itself_by_way_of_others():
    """Imports inside functions count: they hide a circle, they do not mend it."""
    graph = {name_of(file): set() for file in modules()}
    for file in modules():
        name, package = name_of(file), file.stem == "__init__"
        known = {n for n in imported(file) if n in graph and n != name}
        # A package whose parts are imported is run first, but needs nothing of them; nor does it of its own parts.
        known = {n for n in known if not any(other.startswith(f"{n}.") for other in known)}
        graph[name] = {n for n in known if not (package and n.startswith(f"{name}."))}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_methods_do_not_import_each_other():
    shared = {
        "base",
        "behind",
        "context",
        "skin_bound",
        "triangle_bound",
        "sound_deformed",
        "aside",
        "baking",
        "colours",
        "dressing",
        "unseen",
        "gaps",
        "shutter",
        "__init__",
    }
    for file in (PACKAGE / "methods").glob("*.py"):
        if file.stem in shared:
            continue
        for name in imported(file):
            if name.startswith("talkingavatar.methods."):
                assert name.split(".")[2] in shared | {file.stem}, f"{file.name} imports {name}"


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(file):
    text = file.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 80, f"{node.name} is long"
