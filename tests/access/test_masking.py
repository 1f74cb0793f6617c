"""A mask tells two parties apart and nobody who they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback.access.masking import Kind, mask

KINDS: tuple[Kind, ...] = ("name", "number", "email", "address", "text")


@pytest.mark.parametrize(
    ("kind", "text", "shown"),
    [
        ("number", "12103355787", "121xxxxxx87"),
        ("number", "+1 (210) 335-5787", "+1 (21x) xxx-xx87"),
        ("number", "3355787", "xxxxx87"),
        ("number", "911", "xxx"),
        ("name", "John Doe", "Jxxx xxx"),
        ("name", "José Müller", "Jxxx Mxxxxx"),
        ("name", "王小明", "xxx"),
        ("name", "ext1001", "xxxxxxx"),
        ("email", "j.doerr@acme.example", "x.dxxxx@acme.example"),
        ("email", "not an address", "xxx xx xxxxxxx"),
        ("address", "198.51.100.23", "198.51.xxx.xx"),
        ("address", "2001:db8:1:2::5", "2001:db8:x:x::x"),
        ("address", "2001:db8::1", "2001:db8::x"),
        ("address", "::1", "::x"),
        ("address", "12 Main Street, Springfield", "xx xxxx xxxxxx, xxxxxxxxxxx"),
        ("text", "PIN 4711!", "xxx xxxx!"),
    ],
)
def test_what_is_left_of(kind: Kind, text: str, shown: str) -> None:
    assert mask(text, kind) == shown


@given(st.text(), st.sampled_from(KINDS), st.integers(0, 10_000))
def test_a_mask_is_as_long_and_hides_the_same_places_whatever_its_letters(text: str, kind: Kind, nth: int) -> None:
    first, other = mask(text, kind), mask(text, kind, nth)
    assert len(first) == len(other) == len(text)
    for was, one, two in zip(text, first, other, strict=True):
        assert one == two or (one == "x" and two.isascii() and two.islower()) or was == one
    assert mask(text, "text") == mask(mask(text, "text"), "text")


@given(st.integers(0, 25), st.integers(0, 25))
def test_numbers_that_look_alike_get_other_letters(one: int, other: int) -> None:
    assert (mask("12103355787", "number", one) == mask("12103355787", "number", other)) == (one == other)
