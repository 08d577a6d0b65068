"""What `doctor fetch=` gets, from servers on this machine."""

import hashlib
import io
import json
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from talkingavatar.audio.wav2vec2 import DEFAULT, load_model
from talkingavatar.doctor import main
from talkingavatar.engine.fetching import published
from talkingavatar.metrics.identity import find_embedder
from talkingavatar.metrics.lipsync.syncnet import find_syncnet
from talkingavatar.networks.perceptual import FILES, find_backbone


class Shelf(BaseHTTPRequestHandler):
    """Serves `files` by path, with the hub's headers."""

    files: dict[str, bytes] = {}  # noqa: RUF012

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self.wfile.write(self._answer())

    def _answer(self) -> bytes:
        body = self.files.get(self.path)
        self.send_response(200 if body is not None else 404)
        body = body or b""
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        return body

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch):
    """Where what was published is served, and where it is put; empty caches."""
    for name, folder in (("HOME", "home"), ("TORCH_HOME", "torch"), ("TALKINGAVATAR_CACHE", "cache")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.delenv("TALKINGAVATAR_WEIGHTS", raising=False)
    Shelf.files = {"/": b"a hub"}
    with ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as served:
        Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{served.server_port}"
        true = published.download

        def from_shelf(url: str, file: Path, digest: str) -> Path:
            return true(f"{address}/{url.rsplit('/', 1)[1]}", file, digest)

        monkeypatch.setattr(published, "download", from_shelf)
        yield address
        served.shutdown()


def put(name: str, content: bytes) -> str:
    Shelf.files[f"/{name}"] = content
    return hashlib.sha256(content).hexdigest()


def test_weights_come_to_where_they_are_looked_for(shelf, monkeypatch, capsys) -> None:
    pack = io.BytesIO()
    with zipfile.ZipFile(pack, "w") as opened:
        opened.writestr("det_10g.onnx", b"a detector")
        opened.writestr("w600k_r50.onnx", b"an embedder")
    monkeypatch.setattr(published, "ARCFACE", hashlib.sha256(b"an embedder").hexdigest())
    monkeypatch.setattr(published, "BUFFALO", put("buffalo_l.zip", pack.getvalue()))
    monkeypatch.setattr(published, "SYNCNET", put("syncnet_v2.model", b"lips"))
    for name, (file, _) in published.BACKBONES.items():
        monkeypatch.setitem(published.BACKBONES, name, (file, put(file, name.encode())))
    assert main(["fetch=lpips,lpips_vgg,lpips_squeeze,syncnet,arcface"]) == 0, capsys.readouterr().err
    for name in FILES:
        assert find_backbone(name).path.read_bytes() == name.encode()
    assert find_syncnet().path.read_bytes() == b"lips"
    embedder = find_embedder().path
    assert embedder.read_bytes() == b"an embedder" and [f.name for f in embedder.parent.iterdir()] == [embedder.name]
    Shelf.files.clear()  # what is here is not asked for again
    assert main(["fetch=lpips,syncnet,arcface"]) == 0


def test_what_cannot_be_had_is_said_and_the_rest_is_fetched(shelf, monkeypatch, capsys) -> None:
    monkeypatch.setattr(published, "SYNCNET", put("syncnet_v2.model", b"lips"))
    assert main(["fetch=lpips,syncnet"]) == 2
    told = capsys.readouterr()
    assert told.err.count("error: ") == 1 and "answer 404" in told.err and "syncnet_v2.model" in told.out
    assert find_syncnet().path is not None and find_backbone("alex").why_skipped.endswith("doctor fetch=lpips gets it")


@pytest.mark.parametrize("words", [["fetch=smplx"], ["fetch=lpips,"], ["fecth=lpips"], ["verbose"], ["--fetch"]])
def test_a_misspelt_word_fetches_nothing(words, capsys) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ") and told.err.count("\n") == 1 and not told.out


def test_wav2vec2_comes_through_the_hubs_own_client(shelf, tmp_path, monkeypatch, capsys) -> None:
    from huggingface_hub import constants

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    small = Wav2Vec2Config(conv_dim=(8,), conv_stride=(5,), conv_kernel=(10,), num_conv_pos_embeddings=2,
                           num_conv_pos_embedding_groups=2, num_feat_extract_layers=1, **sizes)  # fmt: skip
    model = Wav2Vec2ForCTC(small).eval()
    weights = io.BytesIO()
    torch.save(model.state_dict(), weights)
    put(f"{DEFAULT}/resolve/main/config.json", json.dumps(small.to_dict()).encode())
    put(f"{DEFAULT}/resolve/main/pytorch_model.bin", weights.getvalue())
    address = shelf + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in (
        ("ENDPOINT", shelf), ("HUGGINGFACE_CO_URL_TEMPLATE", address), ("HF_HUB_CACHE", str(tmp_path / "hub")),
    ):  # fmt: skip
        monkeypatch.setattr(constants, name, value)
    assert main(["fetch=wav2vec2"]) == 0, capsys.readouterr().err
    (found,) = (tmp_path / "hub").glob("models--*/snapshots/*")
    loaded = load_model(found, "logits")
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert main(["fetch=wav2vec2"]) == 2
    assert "found no connection to the hub" in capsys.readouterr().err
