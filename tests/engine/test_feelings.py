"""What the videos of emotions ask for."""

import numpy as np

from talkingavatar.body.action_units import NAMES
from talkingavatar.engine.media.feelings import coming_and_going
from talkingavatar.engine.performing.editing import Edit, open_edit


def test_an_edit_comes_and_goes(cache):
    whole, slid = open_edit(Edit("happy")), coming_and_going(open_edit(Edit("happy")), 3.0)
    asked, came = whole.track(25, 75), slid.track(25, 75)
    smile = NAMES.index("AU12")
    curve = came.raised[:, smile, 0] / asked.raised[0, smile, 0]
    assert curve[[0, -1]].max() < 0.1 and 0.9 < curve[30:45].max() <= 1
    rising = np.diff(curve[:38])
    assert rising.min() > -0.02 and np.abs(np.diff(curve)).max() < 0.1 and abs(curve[19] - 0.5) < 0.1
    assert not np.delete(came.raised, np.flatnonzero(asked.raised.any((0, 2))), 1).any()
