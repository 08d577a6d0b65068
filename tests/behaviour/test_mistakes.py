"""A user's mistake is one clear line and exit code 2, never a traceback."""

import importlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from talkingavatar.fit import main
from tests.conftest import TINY, quick_help


@pytest.fixture(scope="session")
def speaker(cache) -> Path:
    """A tiny embedded capture, made once."""
    from talkingavatar.config.compose import compose
    from talkingavatar.engine.build import build_data

    config = compose(["data.seconds=2", "data.size=64", "trainer.progress=false"])
    return build_data(config).capture.folder


@pytest.fixture
def capture(speaker, tmp_path) -> Path:
    return shutil.copytree(speaker, tmp_path / "capture")


def refused(done, *expected: str) -> None:
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr
    for text in expected:
        assert text in errors[0]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("experiment=thgs_ful", "did you mean thgs_full"),
        ("data.sise=100", "did you mean data.size"),
        ("data=capture", "data.path"),
        ("+method.options.lebb=false", "did you mean leb?"),
        ("method.options.lebb=false", "did you mean method.options.leb"),
        ("data.identity=10000", "data.identity"),
    ],
)
def test_configuration(command, tiny, override, expected):
    refused(command("fit", *tiny, override), expected)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.accelerator=gpu"], "no CUDA device"),
        (["body=smplx", "body.path=/nowhere"], "body"),
        (["method.name=syncnet"], "method.name"),
        (["experiment=syncnet", "pretrained.name=syncnt"], "did you mean syncnet?"),
        (["stages=[avatar,driver]", "driver.name=audio2parm"], "did you mean audio2param?"),
        (["stages=[avatar,driver]", "driver.name=ridge"], "a driver that is trained"),
        (["stages=[avatar,driver]", "+driver.options.width=7"], "driver.options.width"),
        (
            ["stages=[avatar,driver]", "driver=diffusion", "driver.options.units=true"],
            "no stage before it foretells them",
        ),
        (["+method.options.lebb=false"], "did you mean leb?"),
    ],
)
def test_what_can_be_told_at_once_is_told_before_data_is_made(tiny, overrides, expected, tmp_path, monkeypatch):
    """And before a run that lies there is removed to start anew."""
    if overrides == ["trainer.accelerator=gpu"]:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device")
    from talkingavatar.config.compose import compose
    from talkingavatar.engine.experiment import run_fit
    from talkingavatar.errors import UserError
    from talkingavatar.runtime.signals import StopFlag

    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("")
    words = [*tiny, "data.seconds=9999", f"run.path={run}", "run.fresh=true"]
    monkeypatch.setenv("TALKINGAVATAR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=re.escape(expected)):
        run_fit(compose([*words, *overrides]), StopFlag())
    assert not (tmp_path / "cache" / "captures").exists()
    assert (run / "config.yaml").read_text() == ""


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["-m", "seed=0,1"], "talkingavatar.sweep"),
        (["--cfg", "job"], "--config"),
        (["--info"], "talkingavatar.doctor"),
        (["--config-dir=mine"], "TALKINGAVATAR_CONF"),
        (["--confg"], "see --help"),
    ],
)
def test_habits_of_hydra_are_told_what_to_do_instead(capsys, words, instead):
    assert main(words) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: argument: found ") and instead in told and told.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("bench", ["rastr"], "did you mean raster?"),
        ("bench", ["raster", "--sises", "64"], "did you mean --sizes?"),
        ("bench", ["raster", "--sizes", "x"], "--sizes"),
        ("bench", ["raster", "--out", "{folder}"], "a folder; expected a file"),
        ("bench", ["raster", "--out", "{folder}/file/x.json"], "--out: found"),
        ("doctor", ["fetsh=lpips"], "did you mean fetch?"),
        ("report", ["run=,"], "run: found ','"),
        ("report", ["runs=x"], "did you mean run?"),
        ("evaluate", ["run=,"], "run: found nothing"),
        ("preprocess", ["video=clip.mp4", "mattes="], "mattes: found nothing"),
        ("import_capture", ["from=nothing", "path=."], "one of thgs, vhap"),
        ("import_capture", ["from=vhap", "path=.", "fps=-25"], "fps: found -25"),
    ],
)
def test_words_that_are_none(name, words, told, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    main = importlib.import_module(f"talkingavatar.{name}").main
    assert main([word.format(folder=tmp_path) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and told in error
    assert "did you mean thgs" not in error


def test_missing_capture(command, tmp_path):
    refused(command("fit", "data=capture", f"data.path={tmp_path / 'nowhere'}"), "no such folder")


def test_truncated_frame(command, tiny, capture):
    for file in (capture / "frames" / "front").iterdir():
        file.write_bytes(file.read_bytes()[:200])
    refused(command("fit", *tiny, "data=capture", f"data.path={capture}"), "truncated", ".png")


def test_lengths_that_differ(command, tiny, capture):
    soundfile.write(capture / "audio.flac", np.zeros(8000), 16000)
    refused(command("fit", *tiny, "data=capture", f"data.path={capture}"), "0.50 s of sound", "2.00 s")


def test_nan_in_tracked_parameters(command, tiny, capture):
    table = dict(np.load(capture / "smplx.npz"))
    table["full_pose"][3, 16, 2] = np.nan
    np.savez(capture / "smplx.npz", **table)
    refused(command("fit", *tiny, "data=capture", f"data.path={capture}"), "full_pose", "NaN at [3, 16, 2]")


def test_wrong_body_file(command, tiny, tmp_path):
    file = tmp_path / "SMPLX_NEUTRAL.npz"
    np.savez(file, nothing=np.zeros(3))
    refused(command("fit", *tiny, "body=smplx", f"body.path={file}"), "body.path")


def test_unwritable_run_directory(command, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    refused(command("fit", *tiny, f"run.path={tmp_path / 'file' / 'run'}"), "run.path")


@pytest.fixture(scope="module")
def stopped(warm, cache, tmp_path_factory) -> Path:
    """A run that was stopped on its way."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    assert warm.start("fit", *TINY, f"run.path={run}", "run.stop_after=10").finish(300).returncode == 75
    return run


def test_corrupt_checkpoint_is_refused_and_left_in_place(command, stopped, tiny, tmp_path):
    run = shutil.copytree(stopped, tmp_path / "run")
    file = run / "avatar.ckpt"
    file.write_bytes(file.read_bytes()[:1000])
    refused(command("fit", *tiny, f"run.path={run}"), "avatar.ckpt", "damaged")
    assert file.stat().st_size == 1000


def test_a_checkpoint_of_another_body_is_refused(command, stopped, tiny, tmp_path):
    import torch

    run = shutil.copytree(stopped, tmp_path / "run")
    content = torch.load(run / "avatar.ckpt", weights_only=True)
    content["body"]["checksum"] = "0" * 64
    torch.save(content, run / "avatar.ckpt")
    refused(command("fit", *tiny, f"run.path={run}"), "body", "which the checkpoint was made with")


def test_help_is_quick():
    shown = quick_help("fit")
    assert "experiment" in shown and "thgs_full" in shown


def test_doctor_lists_what_is_found_and_what_is_off(command, tmp_path):
    (tmp_path / "alexnet_features.pth").write_bytes(b"some bytes")
    done = command("doctor", TALKINGAVATAR_WEIGHTS=str(tmp_path), COLUMNS="200")
    assert done.returncode == 0, done.stderr
    for text in ("torch", "CPU cores", "SMPL-X", "FLAME", "LPIPS alex", "wav2vec 2.0", "off:"):
        assert text in done.stdout
    import hashlib

    assert hashlib.sha256(b"some bytes").hexdigest()[:16] in done.stdout
    assert os.fspath(tmp_path) in done.stdout
