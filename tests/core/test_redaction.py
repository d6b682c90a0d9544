"""What has the form of personal data or of a secret is taken out; what only looks a little like it stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import ConfigurationError
from governor.redaction import KINDS, Redactor

AWS = "AKIA" + "IOSFODNN7EXAMPLE"
OPENAI = "sk-" + "proj-abcdEFGH1234567890"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to ann.lee+x@mail.example.org.", "write to <email_1>."),
        ("a@b.example and c@d.example and a@b.example", "<email_1> and <email_2> and <email_1>"),
        (f"key {OPENAI} end", "key <api_key_1> end"),
        (f"{AWS}", "<api_key_1>"),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer <api_key_1>"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY----- ok", "<api_key_1> ok"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.abc-_d", "<api_key_1>"),
        ("card 4111 1111 1111 1111, thanks", "card <card_number_1>, thanks"),
        ("card 4111-1111-1111-1111", "card <card_number_1>"),
        ("12 4111 1111 1111 1111 000 and 5500005555555559", "12 <card_number_1> 000 and <card_number_2>"),
        ("call +49 30 901820 now", "call <phone_1> now"),
        ("call (555) 867-5309 or 555-867-5309", "call <phone_1> or <phone_2>"),
        ("pay to DE89 3704 0044 0532 0130 00 today", "pay to <iban_1> today"),
        ("ssn 123-45-6789", "ssn <us_ssn_1>"),
        ("password: hunter22, user ann", "password: <secret_1>, user ann"),
        ('{"api_key": "abcd1234"}', '{"api_key": "<secret_1>"}'),
    ],
)
def test_each_kind_is_taken_out_of_text(text: str, left: str) -> None:
    assert left == Redactor().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "order 4111 1111 1111 1112 is no card",  # wrong check digit
        "2026-11-28 16:20:45, version 3.11.2, 127.0.0.1",
        "ids 1234567 and 12345678901234567890123",
        "the token budget is large; the secret garden",
        "DE00 3704 0044 0532 0130 00",
        "sk-short",
        "a@b is no address",
    ],
)
def test_what_only_looks_alike_stays(text: str) -> None:
    redactor = Redactor()

    assert text == redactor.text(text)
    assert {} == redactor.found


def test_values_keep_their_shape_and_a_key_that_names_a_secret_hides_whatever_it_holds() -> None:
    value = {"to": ["a@b.example", 7, None, True], "card": 4111111111111111, "db_password": "x", "tokens": 5}

    left = Redactor().value(value)

    assert {
        "to": ["<email_1>", 7, None, True],
        "card": "<card_number_1>",
        "db_password": "<secret_1>",
        "tokens": 5,
    } == left


def test_only_the_named_kinds_are_taken_out_and_a_misspelt_one_is_an_error() -> None:
    assert "a@b.example <phone_1>" == Redactor(["phone"]).text("a@b.example +49 30 901820")
    with pytest.raises(ConfigurationError, match=r"of the kind emial\. Known kinds: api_key, secret, email"):
        Redactor(["emial"])


@given(
    st.text(max_size=30),
    st.sampled_from(["ann@mail.example", "4111111111111111", OPENAI, "+49 30 901820"]),
    st.text(max_size=30),
)
def test_nothing_that_was_set_apart_by_blanks_gets_through(before: str, private: str, after: str) -> None:
    left = Redactor().text(f"{before} {private} {after}")

    assert private not in left


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_what_is_taken_out_once_is_not_found_again(text: str) -> None:
    once = Redactor().text(f"{text} a@b.example password=hunter22")
    again = Redactor()

    assert once == again.text(once)


def test_each_kind_is_counted() -> None:
    redactor = Redactor()
    redactor.text("a@b.example, a@b.example, +49 30 901820")

    assert {"email": 2, "phone": 1} == redactor.found
    assert set(redactor.found) < set(KINDS)
    assert json.dumps(redactor.value({"x": 1})) == '{"x": 1}'


@pytest.mark.parametrize(
    "text",
    [
        "AWS_SECRET_ACCESS_KEY=hunter22x",
        'password: "a hunter22x, b"',
        "password: <hunter22x",
        "password=<x>hunter22x",
        "API_KEY_2=hunter22x",
        "my_api_key_prod=hunter22x",
        "pwd=hunter22x",
        "Authorization: Basic hunter22xhunter22x",
        "whsec_hunter22xhunter22x",
        "SG.hunter22xhunter22x.hunter22xhunter22x",
    ],
)
def test_secrets_are_taken_out_whatever_form_their_name_and_their_quotes_have(text: str) -> None:
    assert "hunter22x" not in Redactor().text(text)


def test_whatever_stands_under_a_secrets_name_is_taken_out_at_any_depth() -> None:
    secrets = {
        "api_key": 12345678,
        "password": {"value": "x1"},
        "secretKey": ["x1"],
        "Authorization": "x1",
        "db-token": 1.5,
    }
    left = Redactor().value({**secrets, "max_tokens": 5, "token_count": 3, "password": {"value": "x1"}})

    assert "x1" not in json.dumps(left)
    assert "12345678" not in json.dumps(left)
    assert (5, 3) == (left["max_tokens"], left["token_count"])
