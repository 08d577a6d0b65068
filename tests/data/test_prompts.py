"""What a user asks of a face, in words or action units, as curves over the clock."""

import numpy as np
import pytest

from talkingavatar.body.action_units import NAMES
from talkingavatar.data.prompts.ask import FADE, Ask, track_of
from talkingavatar.data.prompts.lexicon import inflections, lexicon, read_words
from talkingavatar.data.prompts.placing import Placing
from talkingavatar.data.prompts.text import parse_text
from talkingavatar.data.prompts.unit_list import parse_units
from talkingavatar.errors import UserError

EIGHT = ("neutral", "happy", "sad", "angry", "surprised", "afraid", "disgusted", "contempt")


def felt(text):
    return {name: round(share, 2) for name, share in parse_text(text).emotions().items()}


def done(text):
    """Units that are asked for besides feelings: name, intensity; 0 where they are taken back."""
    asks = [ask for ask in parse_text(text).asks if not ask.feeling]
    return {k: round(v, 2) for ask in asks for k, v in (*ask.raised.items(), *dict.fromkeys(ask.calmed, 0).items())}


def times(text):
    return [(ask.start, ask.stop) for ask in parse_text(text).asks]


@pytest.mark.parametrize("name", EIGHT)
def test_each_emotion_by_its_name_at_three_strengths(name):
    noun = {"afraid": "frightened"}.get(name, name)
    slight, plain, strong = (felt(f"{how}{noun}")[name] for how in ("slightly ", "", "very "))
    assert 0.3 < slight < plain < strong <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She looks HAPPY!", {"happy": 0.7}),
        ("happily", {"happy": 0.7}),
        ("a bit sad", {"sad": 0.35}),
        ("sad a little", {"sad": 0.35}),
        ("furious", {"angry": 1.0}),
        ("slightly furious", {"angry": 0.5}),
        ("very, very happy", {"happy": 1.0}),
        ("happy 0.4", {"happy": 0.4}),
        ("80% sad", {"sad": 0.8}),
        ("happy but not angry", {"happy": 0.7}),
        ("not happy", {}),
        ("he isn't happy or sad", {}),
        ("neither happy nor sad", {}),
        ("never angry, and surprised", {"surprised": 0.7}),
        ("not only happy but also surprised", {"happy": 0.7, "surprised": 0.7}),
        ("couldn't be happier", {"happy": 0.98}),
        ("anything but happy", {}),
        ("happy rather than sad", {"happy": 0.7}),
        ("sad yet slightly happy", {"sad": 0.7, "happy": 0.35}),
        ("happy yet slightly sad", {"happy": 0.7, "sad": 0.35}),
        ("bittersweet", {"happy": 0.5, "sad": 0.6}),
        ("over the moon", {"happy": 1.0}),
        ("someone stole his car", {"angry": 0.7}),
        ("he laughed in front of the grave", {"happy": 0.7}),
    ],
)
def test_feelings_with_degrees_and_negations(text, expected):
    assert felt(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("raise your brows", {"AU01": 3.5, "AU02": 3.5}),
        ("raise your brows a little", {"AU01": 1.75, "AU02": 1.75}),
        ("the eyebrows are raised very high", {"AU01": 4.9, "AU02": 4.9}),
        ("close your left eye", {"AU45L": 5.0}),
        ("raise one eyebrow", {"AU01L": 3.5, "AU02L": 3.5}),
        ("don't wrinkle your nose", {"AU09": 0}),
        ("close your mouth", {"AU25": 0, "AU26": 0}),
        ("pull the corners of your mouth down", {"AU15": 3.5}),
        ("press your lips together", {"AU23": 3.5}),
        ("jaw dropped", {"AU25": 3.5, "AU26": 3.5}),
        ("smile without teeth", {"AU12": 3.0, "AU23": 1.5}),
        ("happy", {}),
    ],
)
def test_what_the_face_does(text, expected):
    assert done(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sad", [(0, np.inf)]),
        ("slightly sad, then furious from 3.5s", [(0, 3.5), (3.5, np.inf)]),
        ("happy until 3s then sad", [(0, 3), (3, np.inf)]),
        ("sad from 2s and happy from 4 seconds", [(2, 4), (4, np.inf)]),
        ("happy and surprised from 3s until 5s", [(3, 5), (3, 5)]),
        ("happy, but slightly afraid, from 2s", [(2, np.inf), (2, np.inf)]),
        ("happy between 1 and 2 seconds", [(1, 2)]),
        ("happy at 1s for 2s", [(1, 3)]),
        ("blink at 1s", [(1, 1.3)]),
        ("raise your brows, happy from 2s", [(0, np.inf), (2, np.inf)]),
    ],
)
def test_when(text, expected):
    np.testing.assert_allclose(times(text), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hapy", "near it: happy"),
        ("glorbish", r"found 'glorbish'; expected feelings \(neutral, happy"),
        ("happy, glorbish", "found 'glorbish'"),
        ("extremly happy", r"'extremly'.*did you mean extremely\?"),
        ("sad, then angry", "'then', which says no time"),
        ("sad then", "'then' with nothing after it"),
        ("gradually sad", "'gradually', which says no time"),
        ("happy 3", "share from 0 to 1"),
        ("happy from 3s until 2s", "3 to 2 s; expected an end after the start"),
        ("very", "expected one of neutral, happy"),
        ("!", "expected one of neutral, happy"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(text, expected):
    with pytest.raises(UserError, match=expected) as raised:
        parse_text(text)
    assert raised.value.field == "emotion"


def test_what_is_passed_over_is_told():
    told = "not understood, and left out: 'he walked into the wide kitchen'"
    assert parse_text("he walked into the wide kitchen, grinning").notes == [told]


def test_a_feeling_and_its_denial_are_opposite():
    (happy,), (denied,) = parse_text("very happy").asks, parse_text("not happy").asks
    assert happy.raised["AU12"] > 4 and happy.calmed["AU15"] > 0.9
    assert denied.calmed.keys() == happy.raised.keys() and not denied.raised and set(denied.calmed.values()) == {1.0}


def test_what_pulls_against_each_other_is_asked_for_less():
    both = parse_text("happy and sad")
    alone = [*parse_text("happy").asks, *parse_text("sad").asks]
    for one, other, unit in zip(both.asks, alone, ("AU12", "AU15"), strict=True):
        assert one.raised[unit] == pytest.approx(0.7 * other.raised[unit]) and len(both.notes) >= 1
    assert parse_text("happy, then sad from 2s").notes == []


def test_units_as_a_list():
    first, second, third = parse_units("AU12=2.5 at 6s, au4l=1 from 2s until 4s; AU12=0 at 8s")
    assert (first.start, first.stop, first.raised) == (6, 8, {"AU12": 2.5})
    assert (second.start, second.stop, second.raised) == (2, 4, {"AU04L": 1.0})
    assert (third.start, third.stop) == (8, np.inf)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AU12=6", "AU12=6; expected an intensity from 0 to 5"),
        ("AU12=much", "AU12=much"),
        ("AU13=2", "'AU13'; expected one of AU01.*did you mean AU"),
        ("smile=2", "'smile'"),
        ("AU12", "'AU12'; expected units as in AU12=2.5 at 6s"),
        (",", "','"),
        ("AU12=1 from 3s until 1s", "an end after the start"),
    ],
)
def test_units_that_are_none(text, expected):
    with pytest.raises(UserError, match=rf"^au: found .*{expected}"):
        parse_units(text)


def test_curves_cross_over_and_end_with_the_sound():
    asks = [Ask(0, 2, {"AU12": 4.0}), Ask(2, np.inf, {"AU15": 3.0}, {"AU12L": 0.5})]
    track = track_of(asks, 50, 200)
    smile, frown = (track.raised[:, NAMES.index(unit), 1] for unit in ("AU12", "AU15"))
    assert smile[0] == 4 and smile[100] == pytest.approx(2) and frown[100] == pytest.approx(1.5) and frown[-1] == 3
    np.testing.assert_allclose(smile / 4 + frown / 3, 1)
    fading = np.flatnonzero((smile > 0) & (frown > 0)) / 50
    assert fading[0] >= 2 - FADE / 2 and fading[-1] <= 2 + FADE / 2
    assert track.calmed[-1, NAMES.index("AU12")].tolist() == [0.5, 0] and track.weight.min() == pytest.approx(0.5)
    for late in (Ask(4, 5, words="au=AU12=1 at 4s"), Ask(1, 9, words="au=AU12=1 at 4s")):
        with pytest.raises(
            UserError, match=r"au=AU12=1 at 4s: found [49] s; expected a time within the sound's 4.00 s"
        ):
            track_of([late], 50, 200)


def test_a_feeling_leaves_to_the_sound_what_is_the_sounds():
    asks = parse_text("very surprised").asks
    jaw = NAMES.index("AU26")
    assert not track_of(asks, 25, 5).raised[:, jaw].any() and track_of(asks, 25, 5, spoken=True).raised[:, jaw].all()
    assert track_of(parse_text("drop your jaw").asks, 25, 5).raised[:, jaw].all()


def test_the_files_are_read_and_damage_is_named(tmp_path):
    words = lexicon()
    assert tuple(words.words.emotions) == EIGHT and len(words.named) > 900
    assert {"happier", "happily", "happiness"} <= set(inflections("happy")) and "hat" not in words.entries
    for content, expected in {"emotions: [": "YAML", "feelings: {}": "feelings", "fillers: [no]": "False"}.items():
        (tmp_path / "a.yaml").write_text(content)
        with pytest.raises(UserError, match=expected):
            read_words([*_shipped(), tmp_path / "a.yaml"])
    (tmp_path / "a.yaml").write_text("emotions: {happy: {units: {AU13: 1}}}")
    with pytest.raises(UserError, match="AU13"):
        read_words([*_shipped(), tmp_path / "a.yaml"])
    (tmp_path / "a.yaml").write_text("emotions: {happy: {plain: [chuffed]}}")
    added = read_words([*_shipped(), tmp_path / "a.yaml"]).emotions["happy"]
    assert added.plain[-1] == "chuffed" and added.units["AU12"] == 5


def _shipped():
    from talkingavatar.config.listing import config_dir

    return sorted((config_dir() / "text").glob("*.yaml"))


def test_unknown_words_are_placed_beside_their_likes(tmp_path):
    """With letters for meaning: words are like those that they share letters with."""

    def encode(phrases):
        counts = np.array([[phrase.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for phrase in phrases])
        return counts / np.linalg.norm(counts, axis=1, keepdims=True).clip(1e-9)

    place = Placing(encode, lexicon(), tmp_path, "letters")
    assert max(place("dellight"), key=place("dellight").get) == "happy" and place("12") is None
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:99])
    again = Placing(encode, lexicon(), tmp_path, "letters")
    assert again("dellight") == place("dellight") and len(file.read_bytes()) > 99
    read = parse_text("slightly dellightt", place)
    assert read.emotions()["happy"] == pytest.approx(0.35) and "is taken for" in read.notes[0]
    assert parse_text("not dellightt", place).asks[0].calmed["AU12"] == 1
