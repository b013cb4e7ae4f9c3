"""Texts: signed, in both languages, made of typed parameters, never with a code; and how many segments they take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain import templates
from functions.domain.formats import DERIVED
from functions.domain.kinds import (
    CREDITED,
    EXPIRING,
    EXPIRING_MERGED,
    KINDS,
    RECOVERED,
    REDEEMED,
    REVERSED,
    kind_of,
    use_by,
)
from functions.domain.lot import Status
from functions.domain.message import TemplateCall
from functions.domain.recovery import Action
from functions.domain.serials import serial_of
from functions.domain.templates import (
    PARAMS,
    SIGNATURE,
    TEMPLATES,
    WHY,
    Money,
    Template,
    money,
    of_recovery,
    of_redemption,
    rendered,
    segments,
    text_of,
)
from functions.domain.voucher import Redemption, Reissue, Reversal, Voucher
from functions.recover.models import Reason

LOCALES = ("zh-CN", "en")
NUMBER = "+8613812345678"
SERIAL = "010000000003"
REVERSAL = Reversal("rev", 2, "client", "reason", "print", "request", balance_minor=8050)
REDEMPTION = Redemption(
    "red", 1, "client", "mobile", NUMBER, 5000, 3050, Status.PARTLY_REDEEMED, "print", 1, 1, "request",
    reversal=REVERSAL,
)  # fmt: skip
VALUES: dict[str, Any] = {
    "serial": SERIAL,
    "successor": serial_of(1_000_000_001),
    "credited": serial_of(1_000_000_001),
    "account": NUMBER,
    "amount": Money(10**12, "CNY"),
    "balance": Money(10**12, "CNY"),
    "ends": 1_800_000_000,
    "count": 51,
    "reason": "campaign_over",
}


def said(kind: str, locale: str, values: dict[str, Any]) -> str:
    return rendered(kind, locale, values, NUMBER).text


def test_every_kind_has_its_template_in_both_languages() -> None:
    assert set(TEMPLATES) == {(kind, locale) for kind in KINDS for locale in LOCALES}
    assert {kind for kind in KINDS if kind.startswith(RECOVERED)} == {kind_of(RECOVERED, each) for each in Action}


@pytest.mark.parametrize(("kind", "locale"), TEMPLATES)
def test_versions_count_up_name_their_parameters_and_are_signed_but_once(kind: str, locale: str) -> None:
    versions = TEMPLATES[kind, locale]
    assert [template.version for template in versions] == list(range(1, len(versions) + 1))
    for template in versions:
        assert len(set(template.params)) == len(template.params) and set(template.params) <= set(PARAMS)
        assert "【" not in template.text
    made = rendered(kind, locale, VALUES, NUMBER)
    assert made.text.startswith(SIGNATURE) and "{" not in made.text and NUMBER[3:] not in made.text
    assert (made.call.name, made.call.locale, made.call.version) == (kind, locale, len(versions))
    assert text_of(made.call) == made.text
    assert made.segments == segments(made.text, NUMBER).parts


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("event", [REDEEMED, REVERSED])
def test_a_use_is_told_with_its_card_its_amounts_and_no_whole_number(event: str, locale: str) -> None:
    text = said(event, locale, of_redemption(event, SERIAL, REDEMPTION, "CNY"))
    assert SERIAL in text and "13812345678" not in text
    assert "+86138****5678" in text and "50.00" in text
    assert ("80.50" in text) == (event == REVERSED)
    assert ("30.50" in text) == (event == REDEEMED)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_reversal_names_the_card_that_its_value_is_on_where_that_is_another(locale: str) -> None:
    assert REDEMPTION.reversal is not None
    elsewhere = replace(REDEMPTION, reversal=replace(REDEMPTION.reversal, credited=1_000_000_001))
    values = of_redemption(REVERSED, SERIAL, elsewhere, "CNY")
    text = said(CREDITED, locale, values)
    assert serial_of(1_000_000_001) in text and "80.50" in text
    assert "credited" not in of_redemption(REDEEMED, SERIAL, elsewhere, "CNY")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("action", list(Action))
def test_a_recovery_is_told_with_its_reason_and_what_is_left(action: Action, locale: str) -> None:
    reissue = Reissue("rec_1", 1_000_000_001, 3050) if action is Action.REISSUE else None
    voucher = Voucher(1_000_000_000, "cmp_1", "bat_1", Status.CLAIMED, 1, 3050, "CNY", reissue=reissue)
    kind = kind_of(RECOVERED, action)
    texts = {reason: said(kind, locale, of_recovery(reason, voucher)) for reason in get_args(Reason)}
    for reason, text in texts.items():
        assert voucher.serial in text
        assert (WHY[locale][reason] in text) == (action is not Action.RESUME)
        assert ("30.50" in text) == (action not in (Action.VOID, Action.RECLAIM))
        assert (serial_of(1_000_000_001) in text) == (action is Action.REISSUE)
    assert said(kind, locale, of_recovery("a rule of a campaign's own", voucher)) == texts["other"]


def test_an_old_version_is_rendered_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    made = rendered(REDEEMED, "en", VALUES, NUMBER)
    newer = Template(2, "Card {serial} was used.")
    monkeypatch.setitem(templates.TEMPLATES, (REDEEMED, "en"), (*TEMPLATES[REDEEMED, "en"], newer))
    assert rendered(REDEEMED, "en", VALUES, NUMBER).call == TemplateCall(REDEEMED, "en", 2, (("serial", SERIAL),))
    assert text_of(made.call) == made.text
    for unknown in (made.call._replace(version=3), made.call._replace(name="none")):
        with pytest.raises(LookupError):
            text_of(unknown)


WRONG: dict[str, list[Any]] = {
    "serial": ["010000000004", "", None, 10000000003],
    "account": [None, "13812345678", "someone", "+86 138"],
    "amount": [5000, "50.00元", None],
    "ends": ["2026-12-31", None],
    "count": ["3", 0, None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_value_of_another_type_or_none_at_all_is_refused(name: str, value: Any) -> None:
    kind = {"ends": EXPIRING, "count": EXPIRING_MERGED}.get(name, REDEEMED)
    with pytest.raises(ValueError, match=r"^no "):
        said(kind, "en", VALUES | {name: value})
    with pytest.raises(ValueError, match=f"lacks {name}"):
        said(kind, "en", {key: value for key, value in VALUES.items() if key != name})


def test_a_text_that_carriers_do_not_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "TEXT_MAX", 20)
    with pytest.raises(ValueError, match="comes to"):
        said(REDEEMED, "en", VALUES)


@given(st.data())
def test_no_parameter_lets_a_code_through(data: st.DataObject) -> None:
    assert not any(kind.may_hold_code for kind in KINDS.values())
    code_format = data.draw(st.sampled_from(DERIVED))
    code = data.draw(st.text(code_format.alphabet, min_size=code_format.length, max_size=code_format.length))
    for name in VALUES:
        kind = next(kind for kind, locale in TEMPLATES if name in TEMPLATES[kind, locale][-1].params)
        try:
            text = said(kind, "en", VALUES | {name: code})
        except ValueError:
            continue
        assert code not in text


def test_money_is_written_as_its_currency_and_the_reader_write_it() -> None:
    assert money(5000, "CNY", "zh-CN") == "50.00元"
    assert money(5, "CNY", "en") == "CNY 0.05"
    assert money(500, "JPY", "zh-CN") == "JPY 500"
    assert money(1234, "KWD", "en") == "KWD 1.234"


@pytest.mark.parametrize(
    ("text", "to", "alphabet", "units", "count"),
    [
        ("", "+1", "GSM 03.38", 0, 1),
        ("a" * 160, "+1", "GSM 03.38", 160, 1),
        ("a" * 161, "+1", "GSM 03.38", 161, 2),
        ("a" * 306, "+1", "GSM 03.38", 306, 2),
        ("a" * 307, "+1", "GSM 03.38", 307, 3),
        ("€" * 80, "+1", "GSM 03.38", 160, 1),
        ("a" * 152 + "€" + "a" * 152, "+1", "GSM 03.38", 306, 3),  # an escape and what it escapes stay together
        ("`", "+1", "UCS-2", 1, 1),
        ("卡" * 70, "+1", "UCS-2", 70, 1),
        ("卡" * 71, "+1", "UCS-2", 71, 2),
        ("卡" * 134, "+1", "UCS-2", 134, 2),
        ("卡" * 135, "+1", "UCS-2", 135, 3),
        ("卡" * 66 + "🎁" + "卡" * 66, "+1", "UCS-2", 134, 3),  # so do the halves of a surrogate pair
        ("a" * 70, "+8613812345678", "UCS-2", 70, 1),
        ("a" * 71, "+8613812345678", "UCS-2", 71, 2),
    ],
)
def test_segments_are_counted_as_the_standard_has_them(
    text: str, to: str, alphabet: str, units: int, count: int
) -> None:
    assert segments(text, to) == (alphabet, units, count)


@given(st.text(max_size=400), st.sampled_from([NUMBER, "+14155550123"]))
def test_segments_grow_with_the_text_and_hold_all_of_it(text: str, to: str) -> None:
    _, units, count = segments(text, to)
    assert count <= segments(text + "卡", to).parts
    assert units <= max(160 if count == 1 else 0, 153 * count)


def test_a_kind_is_of_use_as_long_as_its_row_or_its_occasion_says() -> None:
    assert use_by(REDEEMED, 1000, None) == 1000 + 24 * 3600
    assert use_by(kind_of(RECOVERED, "void"), 1000, None) == 1000 + 72 * 3600
    assert use_by(EXPIRING, 1000, 5000) == 5000
    assert {kind for kind, row in KINDS.items() if row.urgent} == {
        REDEEMED, REVERSED, CREDITED, *(kind_of(RECOVERED, action) for action in ("void", "suspend", "reissue")),
    }  # fmt: skip
