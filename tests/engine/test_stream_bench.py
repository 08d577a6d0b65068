"""Streaming: the figures' relations, and the command that writes them."""

import json

import pytest

from talkingavatar.engine.measuring.stream_bench import HEADER, bench_stream


def test_chunks_give_what_the_whole_file_gives_and_wait_as_long_as_they_say(cache):
    rows = bench_stream(None, [40.0, 200.0], 3.0)
    assert [tuple(row) for row in rows] == [HEADER] * 3
    assert [row["chunk, ms"] for row in rows] == [3000.0, 40.0, 200.0]
    for row in rows:
        assert row["frames"] == 75 and row["apart"] < 1e-4
        assert row["look-ahead, ms"] == pytest.approx(402.5)
        assert row["delay, ms"] == pytest.approx(row["look-ahead, ms"] + row["chunk, ms"] + row["ms a chunk"])
        assert row["ms a chunk"] <= row["99 of 100"]


def test_the_command_writes_its_figures(command, tmp_path):
    done = command("bench", "stream", "--chunks", "100", "--seconds", "2", "--out", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    assert [row["frames"] for row in json.loads((tmp_path / "figures.json").read_text())] == [50, 50]
    done = command("bench", "stream", "--run", str(tmp_path))
    assert done.returncode == 2 and "config.yaml" in done.stderr and "Traceback" not in done.stderr
