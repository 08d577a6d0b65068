import pytest

from talkingavatar.body.models import load_body


@pytest.fixture(scope="session")
def body(cache):
    return load_body("open")


@pytest.fixture(scope="session")
def head(cache):
    return load_body("open_flame")
