"""Make the embedded speech: FLAC and phoneme times for `talkingavatar/audio/speech/`. Run by hand, once.

    pip install espeakng-loader soundfile scipy
    python .ci/make_speech.py

The package never imports this file nor espeak-ng (GPL-3.0-or-later); only the sound and the times it makes
are shipped.
"""

import ctypes
import json
import re
from itertools import pairwise
from pathlib import Path

import espeakng_loader
import numpy as np
import soundfile
from scipy.signal import resample_poly

OUT = Path(__file__).parent.parent / "talkingavatar" / "audio" / "speech"
RATE = 16000
WORD, PHONEME = 1, 7  # event types
SYNCHRONOUS, PHONEME_EVENTS_IPA = 2, 1 | 2
RATE_WPM, PITCH, PITCH_RANGE = 1, 3, 4  # parameters
UTF8 = 1
SENTENCE_PAUSE = (0.45, 0.85)  # seconds between sentences
PARAGRAPH_PAUSE = 1.2
STEPS = 4096  # 13 bits are below hearing here and save a third of the FLAC

STOPS = set("pbtdkɡg") | {"tʃ", "dʒ"}
CLOSURE = (0.025, 0.085)  # shortest and longest closure of a stop, seconds

# name -> espeak voice, words per minute, pitch, pitch range
VOICES = {
    "ada": ("en-us+f3", 158, 52, 62),
    "ben": ("en+m3", 166, 42, 55),
    "carl": ("en-us+m7", 150, 34, 65),
}


TEXTS = {
    "ada": """
Good morning, and welcome. My name is Ada, and I want to tell you about the harbour where I grew up. Before
the sun came up, my father pushed our small blue boat off the beach, and I jumped in behind him. We moved
past the big ferries and the empty piers, and nobody spoke, because the fog made every voice sound huge.

Do you know what a good pilot listens for? She listens for the bell, for the foam over the shallow bar, and
for the thump of waves below the bow. Five times out of six, that is enough! But one evening in November, a
purple cloud rolled over the bay, much faster than we had thought possible. Oh, what a wind that was! The
boom swung about, a pump broke, and both of us were thrown against the mast.

My father only smiled. He chewed his unlit pipe, measured the swell with his thumb, and waited. Then,
between two enormous waves, he turned the wheel with one smooth push, and we were facing home. I have never
forgotten the joy of that moment, nor the warm bread and butter we ate afterwards. So, whenever somebody
tells me to hurry, I think of him. Breathe. Watch the water. Choose your moment, and move. Perhaps that is a
simple rule, but it has brought me home every single time. Next week I shall show you the map that we used,
the one with the coffee stains, and we can look for the old lighthouse together. Until then, keep your feet
dry, and your eyes open. Thank you, and goodbye!
""",
    "ben": """
Hello again. Today I would like to explain how bread works, because most people believe it is harder than it
is. You need flour, water, salt, and a very small amount of yeast. That is all. Butter, honey and milk are
for another day.

First, pour the warm water into a wide bowl, and whisk in the yeast until a thin foam appears on the
surface. Now add the flour, about five cups of it, and push the mixture together with both hands. It will
feel awful at first! It sticks to your fingers, to the table, and probably to your phone as well. Please do
not give up. After eight or nine minutes something rather beautiful happens: the dough becomes smooth, and
it moves like a muscle.

Why does it do that? Well, the proteins join up and form a web, and that web traps every bubble of gas.
Leave the bowl in a quiet corner for an hour or two. Do nothing. Read a book, phone your mother, watch the
rain. When the dough has doubled, press it down gently, fold it over twice, and shape it into a round loaf.
Here comes the part that I enjoy most. Take a sharp knife, and with one quick, brave movement, make a deep
cut across the top.

The oven should be as hot as you can make it, and a pan of boiling water below gives you a thick, golden
crust. Forty minutes later, tap the bottom of the loaf. If it sounds hollow, like a drum, you have made real
bread. Let it cool before you slice it. I know, I know, nobody ever does. Oh, and if it fails, try again on
Thursday. Mine was a brick the first five times, and I was very proud of it!
""",
    "carl": """
Let me begin with a puzzle. Suppose that you are standing on the moon, and you drop a hammer and a feather.
Which of them will reach the ground first? Most of us would bet on the hammer. In fact, they fall together,
because there is no air to push against the feather.

I love this example, for it shows how easily a familiar thing can fool us. We have watched leaves float and
stones plunge ever since we were babies, so we believe that heavy things must be faster. But a feather is
only slow because the air is in its way. Remove the air, and the mystery vanishes. Wow!

Now, think about the voices that you hear every day. Each one is a puff of breath, chopped by the throat,
and shaped by the lips, the teeth and the tongue. When I say the word moon, my lips push forward. When I say
cheese, they pull apart. Boom! Pop! Maybe! You saw my mouth close, did you not? With a good pair of eyes,
you could follow half of this speech without hearing any of it.

Should that worry us? A little, perhaps. What we see can change what we hear, and what we expect can change
both. A famous trick is to show a face that says one thing, while the sound says another; most listeners
hear a third thing, which nobody ever said. So here is my advice, and it is very brief. Be curious, be
patient, and be prepared to change your mind. Measure twice. Ask the foolish question. And if somebody
offers you a hammer and a feather, please go and find out what happens.
""",
}


class Event(ctypes.Structure):
    class Value(ctypes.Union):
        _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("value", Value),
    ]


class Espeak:
    """espeak-ng in synchronous mode, one sentence at a time."""

    def __init__(self) -> None:
        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.rate = self.lib.espeak_Initialize(SYNCHRONOUS, 0, data, PHONEME_EVENTS_IPA | 1 << 15)
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
        self.callback = kind(self.receive)  # kept alive for as long as the library may call it
        self.lib.espeak_SetSynthCallback(self.callback)

    def receive(self, wave: "ctypes._Pointer", count: int, events: "ctypes._Pointer") -> int:
        if count > 0:
            self.pcm.extend(ctypes.string_at(wave, 2 * count))
        i = 0
        while events[i].type != 0:
            event, seconds = events[i], events[i].audio_position / 1000
            if event.type == PHONEME:
                self.phonemes.append((bytes(event.value.string).split(b"\0")[0].decode(), seconds))
            elif event.type == WORD:
                self.words.append((event.text_position - 1, event.length, seconds))
            i += 1
        return 0

    def say(self, sentence: str, voice: tuple[str, int, int, int]) -> tuple[np.ndarray, list, list]:
        """Samples at 16 kHz, phoneme events (symbol, start), words (text, start, end); seconds."""
        self.pcm, self.phonemes, self.words = bytearray(), [], []
        name, *parameters = voice
        assert self.lib.espeak_SetVoiceByName(name.encode()) == 0, name
        for which, value in zip((RATE_WPM, PITCH, PITCH_RANGE), parameters, strict=True):
            assert self.lib.espeak_SetParameter(which, value, 0) == 0
        text = sentence.encode()
        assert self.lib.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None) == 0
        samples = np.frombuffer(bytes(self.pcm), np.int16).astype(np.float64) / 32768
        samples = resample_poly(samples, RATE // 50, self.rate // 50)
        return samples, self.phonemes, self.word_spans(sentence)

    def word_spans(self, sentence: str) -> list[tuple[str, float, float]]:
        starts = [w[2] for w in self.words]
        tokens = [m.start() for m in re.finditer(r"\S+", sentence)]
        # Where it speaks two words as one group, the library places the second one inside the first.
        offsets = [min(t for t in tokens if t >= w[0]) for w in self.words] + [len(sentence)]
        texts = [sentence[a:b].strip() for a, b in pairwise(offsets)]
        return list(zip(texts, starts, [*starts[1:], len(self.pcm) / 2 / self.rate], strict=True))


def phoneme_spans(events: list[tuple[str, float]], samples: np.ndarray) -> list[list]:
    """(symbol, start, end, stress); an empty event is a pause and only ends the phoneme before it.

    The library marks a stop at its release; its closure, which is what one sees, is looked for before it.
    """
    ends = [t for _, t in events[1:]] + [len(samples) / RATE]
    spans = [[s, t, e] for (s, t), e in zip(events, ends, strict=True)]
    for before, span in pairwise(spans):
        if span[0].strip("ˈˌ") in STOPS:
            earliest = max(span[1] - CLOSURE[1], before[1] + 0.03 if before[0] else before[1])
            span[1] = closure_start(samples, earliest, span[1])
            before[2] = span[1]
    stress = {"ˈ": 2, "ˌ": 1}
    return [[s.strip("ˈˌ"), t, e, stress.get(s[0], 0)] for s, t, e in spans if s.strip("ˈˌ") and e - t > 0.004]


def closure_start(samples: np.ndarray, earliest: float, release: float) -> float:
    """The quiet before the release: within 6 dB of the quietest 10 ms there."""
    latest = max(release - CLOSURE[0], earliest)
    times = np.arange(earliest, release, 0.005)
    level = np.array([np.square(samples[int(t * RATE) : int(t * RATE) + 160]).mean() + 1e-8 for t in times])
    if not len(level):
        return latest
    quiet = times[level < 4 * level.min()]
    return float(min(latest, quiet[0]))


def passage(espeak: Espeak, name: str) -> tuple[np.ndarray, dict]:
    """A whole text with pauses between sentences, scaled to an RMS of -22 dB full scale while speaking."""
    rng = np.random.default_rng(sorted(VOICES).index(name))
    samples, phonemes, words, clock = [np.zeros(RATE // 2)], [], [], 0.5
    for paragraph in TEXTS[name].strip().split("\n\n"):
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
            sound, events, spans = espeak.say(sentence, VOICES[name])
            phones = phoneme_spans(events, sound)
            sound = sound[: int((phones[-1][2] + 0.05) * RATE)]  # the pause after it is ours
            phonemes += [[s, round(t + clock, 3), round(e + clock, 3), stress] for s, t, e, stress in phones]
            for word, t, e in spans:  # a word ends with its last phoneme, not with the pause after it
                end = max((p[2] for p in phones if p[1] < e - 0.01), default=e)
                words.append([word, round(t + clock, 3), round(min(e, end) + clock, 3)])
            pause = np.zeros(int(rng.uniform(*SENTENCE_PAUSE) * RATE))
            samples += [sound, pause]
            clock += (len(sound) + len(pause)) / RATE
        samples.append(np.zeros(int((PARAGRAPH_PAUSE - SENTENCE_PAUSE[0]) * RATE)))
        clock += len(samples[-1]) / RATE
    wave = np.concatenate(samples)
    wave *= 10 ** (-22 / 20) / np.sqrt(np.square(wave[np.abs(wave) > 1e-3]).mean())
    wave = np.round(wave * STEPS) / STEPS
    text = " ".join(TEXTS[name].split())
    voice, rate, pitch, pitch_range = VOICES[name]
    made = {
        "engine": "espeak-ng 1.52.0",
        "voice": voice,
        "words_per_minute": rate,
        "pitch": pitch,
        "range": pitch_range,
    }
    return wave, {"text": text, "made_with": made, "words": words, "phonemes": phonemes}


def main() -> None:
    espeak = Espeak()
    OUT.mkdir(exist_ok=True)
    record = {}
    for name in VOICES:
        wave, record[name] = passage(espeak, name)
        peak = np.abs(wave).max()
        assert peak < 0.99, f"{name} clips: {peak:.2f}"
        soundfile.write(OUT / f"{name}.flac", wave, RATE, subtype="PCM_16", compression_level=1.0)
        print(f"{name}: {len(wave) / RATE:.1f} s, peak {peak:.2f}, {len(record[name]['phonemes'])} phonemes")
    lines = [f"{json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in record.items()]
    (OUT / "speech.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
