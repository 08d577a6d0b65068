import numpy as np
import pytest
import torch

from talkingavatar.audio.features import (
    BANDS,
    RATE,
    attention_windows,
    audio_features,
    mel_filters,
    resample,
    silence_features,
)
from talkingavatar.audio.speech import load_speech
from talkingavatar.audio.steps import step_times
from talkingavatar.audio.wav2vec2 import load_model
from talkingavatar.errors import UserError


def sine(hertz, seconds=1.0, rate=RATE):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A wav2vec 2.0 with the real strides and tiny random layers."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=44, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8,) * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer", do_stable_layer_norm=True,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("fps", [25, 30, 29.97])
def test_a_click_lands_in_the_right_window_and_step(fps):
    at = 0.83
    samples = np.zeros(2 * RATE)
    samples[round(at * RATE)] = 1.0
    features = audio_features(samples, RATE, fps, 50)
    assert features.shape == (50, 16, BANDS) and features.dtype == np.float32
    energy = features.mean(-1)
    heard = energy > energy.min() + 0.1
    distance = np.abs(step_times(fps, 50) - at)
    assert heard[distance < 0.010].all()  # the 25 ms window fades out at its ends
    assert not heard[distance > 0.0126].any()
    middle = np.unravel_index(energy.argmax(), energy.shape)
    assert distance[middle] <= 0.01


def test_consecutive_frames_see_the_same_sound_shifted():
    speech = load_speech("ada").samples[: 4 * RATE]
    features = audio_features(speech, RATE, 25, 90)
    np.testing.assert_allclose(features[10:80, 2:], features[11:81, :-2], atol=1e-6)  # 2 steps = 1 frame at 25 fps


@pytest.mark.parametrize("hertz", [200, 440, 1000, 3000, 6000])
def test_a_sine_is_in_the_mel_band_around_it(hertz):
    features = audio_features(sine(hertz), RATE, 25, 25)
    band = features[12, 8].argmax()
    peaks = np.fft.rfftfreq(512, 1 / RATE)[mel_filters().argmax(1)]
    assert abs(peaks[band] - hertz) <= np.abs(np.delete(peaks, band) - hertz).min() + 32  # one bin of the transform


def test_ten_times_the_power_is_a_fixed_step_up():
    loud, soft = (audio_features(a * sine(1000), RATE, 25, 25)[12, 8].max() for a in (1.0, 10**-0.5))
    assert loud - soft == pytest.approx(np.log(10) / 3.8, abs=0.01)


def test_embedded_speech_is_on_the_unit_scale():
    features = np.concatenate([audio_features(load_speech(v).samples, RATE, 25, 2000) for v in range(3)])
    assert abs(features.mean()) < 0.1 and abs(features.std() - 1) < 0.1


def test_other_rates_are_resampled():
    low, high = sine(440, rate=RATE), sine(440, rate=44100)
    again = resample(high, 44100)
    assert len(again) == RATE
    np.testing.assert_allclose(again[500:-500], low[500:-500], atol=2e-3)
    np.testing.assert_allclose(
        audio_features(high, 44100, 25, 20)[5:15], audio_features(low, RATE, 25, 20)[5:15], atol=0.3
    )
    assert resample(low, RATE) is low


def test_beyond_the_sound_there_is_silence():
    features = audio_features(sine(500), RATE, 25, 100)
    silence = silence_features(25, 100)
    assert np.ptp(silence) == 0
    np.testing.assert_array_equal(features[60:], silence[60:])
    assert features[10].max() > silence.max() + 1


def test_attention_windows_are_eight_frames_zero_padded():
    features = torch.arange(1.0, 11.0)[:, None, None].expand(10, 16, 3)
    windows = attention_windows(features)
    assert windows.shape == (10, 8, 16, 3)
    assert windows[0, :, 0, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
    assert windows[5, :, 0, 0].tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert windows[9, :, 0, 0].tolist() == [6, 7, 8, 9, 10, 0, 0, 0]
    single = torch.rand(10, 16, 3)
    assert torch.equal(attention_windows(single)[:, 4], single)


def test_unknown_kind():
    with pytest.raises(UserError, match="logmel, wav2vec2, deepspeech"):
        audio_features(np.zeros(10), RATE, 25, 1, "mfcc")


@pytest.mark.parametrize("channels", [44, 29])
def test_published_windows_are_interpolated_on_their_own_clock(tmp_path, channels):
    ramp = np.arange(100.0)[:, None, None] * np.ones((1, 16, channels))
    np.save(tmp_path / "aud.npy", ramp)
    same = audio_features(np.zeros(1), RATE, 25, 100, "deepspeech", path=tmp_path / "aud.npy")
    np.testing.assert_allclose(same, ramp)
    at30 = audio_features(np.zeros(1), RATE, 30, 118, "deepspeech", path=str(tmp_path / "aud.npy"))
    assert at30.shape == (118, 16, channels)
    np.testing.assert_allclose(at30[:, 3, 2], np.arange(118) * 25 / 30, rtol=1e-5)
    silent = silence_features(25, 100, "deepspeech", tmp_path / "aud.npy")
    assert silent.shape == (100, 16, channels) and not silent.any()


def test_bad_published_windows(tmp_path):
    file = tmp_path / "aud.npy"
    with pytest.raises(UserError, match="published with the clip"):
        audio_features(np.zeros(1), RATE, 25, 100, "deepspeech", path=file)
    np.save(file, np.zeros((100, 44)))
    with pytest.raises(UserError, match=r"\(100, 44\)"):
        audio_features(np.zeros(1), RATE, 25, 100, "deepspeech", path=file)
    np.save(file, np.zeros((100, 16, 44)))
    with pytest.raises(UserError, match=r"4.00 s of windows; expected 8.00 s"):
        audio_features(np.zeros(1), RATE, 25, 200, "deepspeech", path=file)
    whole = file.read_bytes()
    np.save(file, np.array([["a"]]))
    for content in (file.read_bytes(), whole[:300], b"", b"\0" * 900, b"[1, 2]"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"aud\.npy: found .* give "):
            audio_features(np.zeros(1), RATE, 25, 100, "deepspeech", path=file)


def test_wav2vec2_windows_have_the_heads_channels(checkpoint):
    speech = load_speech("ada").samples[: 3 * RATE]
    logits = audio_features(speech, RATE, 25, 75, "wav2vec2", path=checkpoint)
    assert logits.shape == (75, 16, 44) and logits.dtype == np.float32
    hidden = audio_features(speech, RATE, 25, 75, "wav2vec2", path=str(checkpoint), output="hidden")
    assert hidden.shape == (75, 16, 16)
    np.testing.assert_allclose(logits[10:60, 2:], logits[11:61, :-2], atol=1e-4)


def test_wav2vec2_steps_are_where_the_model_hears_them(checkpoint):
    """Chunked and resampled in time, a step equals the model's own output on the sound around it."""
    samples = load_speech("ben").samples[RATE : RATE + 4 * RATE]
    features = audio_features(samples, RATE, 25, 100, "wav2vec2", path=checkpoint)
    model = load_model(checkpoint, "logits")
    frame, k = 40, 8
    centre = step_times(25, 100)[frame, k] * RATE
    normal = torch.from_numpy((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7))
    # The chunk that the features used: it starts a whole number of chunks after 16 steps of silence.
    start = (int((centre / 320 + 16) // 50) * 50 - 16 - 10) * 320
    with torch.inference_mode():
        out = model(normal[None, start : start + 70 * 320 + 80]).logits[0]
    n = (centre - start - 200) / 320
    low = int(np.floor(n))
    expected = (1 - (n - low)) * out[low] + (n - low) * out[low + 1]
    np.testing.assert_allclose(features[frame, k], expected, atol=1e-4)


def test_wav2vec2_absent_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(UserError) as error:
        audio_features(np.zeros(RATE), RATE, 25, 25, "wav2vec2", path=tmp_path / "none")
    assert str(tmp_path / "none") in str(error.value) and str(tmp_path / "weights") in str(error.value)
    with pytest.raises(UserError, match="logits or hidden"):
        audio_features(np.zeros(RATE), RATE, 25, 25, "wav2vec2", path=tmp_path, output="tokens")


def test_wav2vec2_without_a_head_gives_hidden_states_only(checkpoint, tmp_path):
    from transformers import Wav2Vec2Model

    Wav2Vec2Model.from_pretrained(checkpoint).save_pretrained(tmp_path / "base")
    samples = sine(300)
    with pytest.raises(UserError, match="hidden"):
        audio_features(samples, RATE, 25, 25, "wav2vec2", path=tmp_path / "base")
    hidden = audio_features(samples, RATE, 25, 25, "wav2vec2", path=tmp_path / "base", output="hidden")
    assert hidden.shape == (25, 16, 16)


def test_weights_folder_is_searched(checkpoint, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_WEIGHTS", str(checkpoint.parent))
    features = audio_features(sine(300), RATE, 25, 25, "wav2vec2", path="somebody/tiny")
    assert features.shape == (25, 16, 44)


def test_attention_windows_end_at_cuts():
    features = torch.arange(1.0, 11)[:, None, None].expand(10, 16, 2)
    cut = attention_windows(features, [(0, 4), (4, 10)])
    assert torch.equal(cut[:4], attention_windows(features[:4]))
    assert torch.equal(cut[4:], attention_windows(features[4:]))
    assert torch.equal(attention_windows(features, [(0, 10)]), attention_windows(features))
