"""What lasts as long as the process."""

import gc

import pytest

from talkingavatar.runtime.command import lasting


def test_what_lasts_is_not_looked_through_and_what_comes_after_is():
    before = gc.get_freeze_count()
    with pytest.raises(KeyError), lasting():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
        raise KeyError
    assert gc.isenabled() and gc.get_freeze_count() >= before + len(kept)
