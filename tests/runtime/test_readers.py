"""Small files that hold anything: what they should, or one line."""

import errno
import json
import os

import pytest

from talkingavatar.errors import DiskFull, UserError
from talkingavatar.runtime.command import ended
from talkingavatar.runtime.disk import told_in_a_line
from talkingavatar.runtime.files import whole, write_atomically
from talkingavatar.runtime.readers import Unreadable, healed, read_json, read_yaml
from tests.conftest import room_for

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + last] * 9)}]\n" for last, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[1, 2]", "a list"),
        ("", "nothing"),
        ("words", "a text"),
        ("a: &a\n  b: *a\n", "holds itself in line"),
        ("seed: 1\nseed: 2\n", "'seed' twice, again in line 2"),
        ("a: {b: 1, b: 2}\n", "'b' twice"),
        ("a: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("a: !mine 3\n", "could not determine a constructor"),
        ("a: [1\nb: 2\n", "in line"),
        ("a: 1\n---\nb: 2\n", "document"),
        (BOMB, "more than 100000 parts"),
        ("[" * 20_000, ""),
        ("\0", "character"),
    ],
)
def test_yaml_that_is_no_plain_mapping(tmp_path, text, found):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(Unreadable) as told:
        read_yaml(file, "restore it")
    assert found in told.value.found and len(str(told.value)) < 400 and str(file) in str(told.value)


@pytest.mark.parametrize("text", ["", "null", "[]", "3", '{"a": ', "[" * 100_000, "<html>", '{"a": "\\uD800"}'])
def test_json_that_is_no_mapping(tmp_path, text):
    file = tmp_path / "summary.json"
    file.write_text(text)
    said = []
    assert healed(lambda: read_json(file, dict, ""), {}, said.append) == {}
    assert len(said) == 1 and said[0].startswith(f"{file}: ") and said[0].endswith("it is made anew")


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    expected = {"folder": "directory", "nowhere": "link to nothing", "itself": "levels", "binary": "no text"}
    for name, found in expected.items():
        with pytest.raises(Unreadable, match=found):
            read_json(tmp_path / name, dict, "remove it")
    assert healed(lambda: read_json(tmp_path / "absent", dict, ""), None, pytest.fail) is None


def test_what_is_right_is_read(tmp_path):
    (tmp_path / "a.json").write_text('\ufeff{"a": 1}')
    assert read_json(tmp_path / "a.json", dict, "") == {"a": 1}
    (tmp_path / "a.yaml").write_text("seed: 3\nshared: &s {x: 1}\nagain: *s\n")
    assert read_yaml(tmp_path / "a.yaml", "") == {"seed": 3, "shared": {"x": 1}, "again": {"x": 1}}
    (tmp_path / "a.json").write_bytes('{"a": "\\ud83d\\ude00\\\\ud8"}'.encode("utf-16"))
    assert read_json(tmp_path / "a.json", dict, "") == {"a": "\U0001f600\\ud8"}
    (tmp_path / "a.json").write_text("[1, {}]")
    assert read_json(tmp_path / "a.json", list, "") == [1, {}]


@pytest.fixture
def little_room():
    """A file may hold 1,000 bytes in this process: writing beyond fails as on a full disk."""
    with room_for(1000):
        yield


def test_no_room_leaves_what_was_there_and_says_so(tmp_path, little_room, capsys):
    file = tmp_path / "status.json"
    write_atomically(file, "before")

    def command() -> int:
        with told_in_a_line(lambda: "; saved up to step 7"):
            write_atomically(file, "x" * 5000)
        return 0

    assert ended(command) == 75
    told = capsys.readouterr().err
    assert told.startswith("error: disk: found ") and told.count("\n") == 1 and "saved up to step 7" in told
    assert file.read_text() == "before" and [f.name for f in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_found_behind_what_came_of_it(number):
    with pytest.raises(DiskFull), told_in_a_line():
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise RuntimeError("the writer failed") from error


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EISDIR])
def test_what_may_not_be_written_is_a_mistake(number, capsys):
    def command() -> int:
        raise OSError(number, os.strerror(number), "/some/where")

    assert ended(command) == 2 and "/some/where" in capsys.readouterr().err
    with pytest.raises(OSError), told_in_a_line():  # nothing that a user named
        raise OSError(errno.ECHILD, "No child")


def test_a_write_names_what_stands_in_its_way(tmp_path, capsys):
    folder = tmp_path / "run"
    (folder / "a.json").mkdir(parents=True)

    def command() -> int:
        write_atomically(folder / "a.json", "x")
        return 0

    assert ended(command) == 2 and f"error: {folder / 'a.json'}: found Is a directory" in capsys.readouterr().err
    (folder / "a.json").rmdir()
    folder.rmdir()
    assert ended(command) == 2 and f"error: {folder}: found no such folder any more" in capsys.readouterr().err


def test_a_failed_write_leaves_no_half(tmp_path):
    with pytest.raises(UserError), whole(tmp_path / "a.npz") as temporary:
        assert temporary.suffix == ".npz"
        temporary.write_text(json.dumps({}))
        raise UserError("a", "b", "c", "d")
    assert not list(tmp_path.iterdir())
