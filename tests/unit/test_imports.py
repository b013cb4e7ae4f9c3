"""Who is given which position: any file, cut and broken off anywhere, comes to what a plain loop over it comes to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.actor import By
from functions.domain.campaign import Campaign, LotCounter, allocate_fresh
from functions.domain.codefile import Line
from functions.domain.imported import Imported
from functions.domain.imports import Import, Ledger, Place, Reason, Refused, left_over
from functions.domain.lot import Rules
from functions.domain.serials import LOT_SIZE

BY = By("c", "operator", "operator", "192.0.2.1", "r")
MINE, FIRST = "bat_1", 90_000_000_000
codes = st.sampled_from("abcdefgh")
files = st.lists(codes | st.none(), max_size=40)


def order() -> Import:
    return Import("imp_1", "cmp_1", 1, "f", BY, 1, place=Place(FIRST, 40, b""))


def there(code: str, position: int, batch: str = "bat_0", line: int = 1) -> Imported:
    return Imported(code, position, batch, line, b"")


def plainly(file: list[str | None], stock: dict[str, Imported]) -> tuple[dict[str, Imported], list[Refused]]:
    """The same, one line after the other."""
    stock, refused, accepted = dict(stock), list[Refused](), 0
    for number, code in enumerate(file, 1):
        known = stock.get(code) if code is not None else None
        if code is None:
            refused.append(Refused(number, Reason.INVALID, "no_code"))
        elif known is None:
            stock[code] = there(code, FIRST + accepted, MINE, number)
            accepted += 1
        elif known.batch == MINE:
            refused.append(Refused(number, Reason.IN_FILE, first_line=known.line))
        else:
            refused.append(Refused(number, Reason.IN_STOCK, position=known.position))
    return stock, refused


def write(ledger: Ledger, stock: dict[str, Imported]) -> None:
    """All that waits or nothing, as the table does it."""
    made = {
        code: there(code, position, MINE, line.number)
        for position, (code, (line, *_)) in enumerate(ledger.waiting.items(), FIRST + ledger.accepted)
    }
    known = {code: stock[code] for code in made if code in stock}
    if known:
        ledger.known(MINE, FIRST, known)
    else:
        stock.update(made)
        ledger.written()


@given(files, st.sets(codes, max_size=4), st.data())
def test_any_file_cut_and_broken_off_anywhere_comes_to_what_a_plain_loop_does(
    file: list[str | None], known: set[str], data: st.DataObject
) -> None:
    stock = {code: there(code, n) for n, code in enumerate(sorted(known))}
    expected = plainly(file, stock)
    import_, refused = order(), list[Refused]()
    breaks = 0
    while import_.line < len(file):
        ledger, size = Ledger(import_.accepted), data.draw(st.integers(1, 6))
        last = data.draw(st.integers(import_.line + 1, len(file)))
        for number in range(import_.line + 1, last + 1):
            code = file[number - 1]
            if code is None:
                ledger.refuse(Line(number, "", problem="no_code"))
            else:
                ledger.take(Line(number, code), code)
            if ledger.held >= size:
                write(ledger, stock)
        if breaks < 5 and data.draw(st.booleans()):  # before the checkpoint: it is begun again from the one before
            breaks += 1
            continue
        while ledger.waiting:
            write(ledger, stock)
        assert ledger.held == 0
        import_, page = ledger.applied(import_, last, last, last)
        refused += page.lines if page is not None else ()
    assert (stock, refused) == expected
    assert import_.accepted + sum(import_.refused.values()) == len(file)


def test_a_code_of_its_own_in_another_place_is_never_gone_on_from() -> None:
    ledger = Ledger(3)
    ledger.take(Line(9, "a"), "a")
    with pytest.raises(ValueError, match="line 9"):
        ledger.known(MINE, FIRST, {"a": there("a", FIRST + 4, MINE, 9)})


rules = Rules("cmp_1", "stock", 1, "CNY", "single", "imported")


@given(st.integers(1, 1_000_000), st.data())
def test_what_was_taken_and_not_used_is_given_back(quantity: int, data: st.DataObject) -> None:
    """Lot numbers only while nobody has taken one since."""
    used, between = data.draw(st.integers(0, quantity)), data.draw(st.integers(0, 2))
    campaign = Campaign("cmp_1", "n", rules, None, "en", 1, "f", BY, quantity=7, lots=1)
    counter = LotCounter("imported", 9_000_005)
    given_ = allocate_fresh(campaign, quantity, counter.next_lot)
    import_ = replace(order(), place=Place(given_.first, quantity, b""), accepted=used)
    after = replace(counter, next_lot=counter.next_lot + given_.fresh_lots + between)
    freed, moved = left_over(import_, given_.campaign, after)
    used_lots = -(-used // LOT_SIZE)
    assert (freed.quantity, freed.lots) == (7 + used, 1 + used_lots)
    assert moved.next_lot == (after.next_lot if between else counter.next_lot + used_lots)
    assert given_.campaign.open_lot is None
