"""Ids that follow from the request."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from functions.domain.ids import derived, fingerprint

parts = st.lists(st.text(max_size=6), min_size=1, max_size=4)
bodies = st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text(max_size=4), max_size=4)


@given(parts, parts)
def test_other_parts_give_another_id(one: list[str], other: list[str]) -> None:
    assert (derived(*one) == derived(*other)) == (one == other)


@given(st.text(min_size=2, max_size=8), st.integers(1, 7), st.integers(1, 7))
def test_where_the_parts_end_matters(text: str, cut: int, other_cut: int) -> None:
    one = text[: cut % len(text)], text[cut % len(text) :]
    other = text[: other_cut % len(text)], text[other_cut % len(text) :]
    assert (derived(*one) == derived(*other)) == (one == other)
    assert derived(*one) != derived(text)


def test_ids_that_were_given_out_stay_what_they_are() -> None:
    """A repeat after an upgrade must find what its first request made."""
    assert derived("client", "POST /v1/redemptions", "key") == "qf67q4tzslimuuqzzsqamcvf"
    assert fingerprint({"b": 1, "a": "卡"}) == "rgkstgsnz3jrznhetvwanxzv"


@given(parts)
def test_an_id_is_24_lower_case_letters_and_digits(given_parts: list[str]) -> None:
    assert re.fullmatch("[a-z2-7]{24}", derived(*given_parts))


@given(bodies)
def test_a_fingerprint_does_not_depend_on_the_order_of_members(body: dict[str, Any]) -> None:
    assert fingerprint(body) == fingerprint(dict(reversed(body.items())))


@given(bodies, bodies)
def test_another_body_has_another_fingerprint(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


def test_a_number_and_the_same_as_text_are_different_bodies() -> None:
    assert fingerprint({"amount_minor": 1}) != fingerprint({"amount_minor": "1"})
