"""What was written into a folder is known to be whole; what is not is replaced, and nothing else is."""

import shutil

import pytest

from talkingavatar.runtime.sealed import put, seal, sealed


def made(folder):
    (folder / "in").mkdir(parents=True)
    (folder / "table.npz").write_bytes(bytes(range(256)) * 9)
    (folder / "in/000000.png").write_bytes(b"a picture")
    seal(folder)
    return folder


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def in_its_place(file):
    file.unlink()
    file.mkdir()


def another(file):
    content = file.read_bytes()
    file.write_bytes(content[:50] + b"x" + content[51:])


DAMAGES = [cut, in_its_place, lambda file: file.unlink(), lambda file: file.write_bytes(b"")]


@pytest.mark.parametrize("name", ["table.npz", "in/000000.png", "contents.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_mended(tmp_path, name, damage, capsys):
    folder = made(tmp_path / "kept")
    (folder / "in/000001.png").write_bytes(b"added later")
    assert sealed(folder)
    damage(folder / name)
    assert not sealed(folder)
    put(made(tmp_path / "scratch/new"), folder)
    assert sealed(folder) and "kept: not as it was written: it is made anew" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"table.npz": null}', '{"a\\u0000b": [3]}', '{"..": [4, 5]}'])
def test_a_seal_that_is_none(tmp_path, content):
    folder = made(tmp_path / "kept")
    (folder / "contents.json").write_text(content)
    assert not sealed(folder)


def test_other_bytes_of_the_same_length(tmp_path):
    folder = made(tmp_path / "kept")
    another(folder / "table.npz")
    assert not sealed(folder)


def test_who_comes_second_leaves_the_first_ones(tmp_path, capsys):
    first = made(tmp_path / "kept")
    (first / "added").write_text("by the first")
    put(made(tmp_path / "scratch/new"), first)
    assert (first / "added").is_file() and capsys.readouterr().err == ""


@pytest.mark.parametrize("there", ["file", "link", "loop", "empty"])
def test_something_else_in_the_way(tmp_path, there):
    kept = tmp_path / "kept"
    if there == "file":
        kept.write_text("x")
    elif there == "empty":
        kept.mkdir()
    else:
        kept.symlink_to("nowhere" if there == "link" else "kept")
    assert not sealed(kept)
    put(made(tmp_path / "scratch/new"), kept)
    assert sealed(kept)
    shutil.rmtree(tmp_path / "scratch")
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]
