"""No form of a store's address shows its secrets, whoever wrote it however badly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import ConfigurationError
from governor.stores.opening import open_store, without_password

words = st.text("abcdefghijklmnop0123456789", min_size=3, max_size=9)


@given(user=words, password=words.map("SECRET".__add__), host=words, key=words)
def test_no_form_of_an_address_shows_its_secrets(user: str, password: str, host: str, key: str) -> None:
    addresses = [
        f"redis://{user}:{password}@{host}:6379/0",
        f"rediss://:{password}@{host}",
        f"redis://{host}/0?{key}={password}",
        f"unix:///run/redis.sock?password={password}",
        f"redis://{user}:{password}/{password}@{host}",
        f"redis://[{password}@{host}",
        f"redis://{user}:{password}?{password}@{host}/0",
        f"redis://{host}/0?password={key}@{password}",
    ]

    assert [] == [shown for shown in map(without_password, addresses) if "SECRET" in shown]


@pytest.mark.parametrize("address", ["made-up://u:SECRET@host/0?password=SECRET", "redis://[SECRET@host"])
def test_an_address_that_cannot_be_opened_is_named_without_its_secrets(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(address)

    assert "SECRET" not in str(caught.value)
