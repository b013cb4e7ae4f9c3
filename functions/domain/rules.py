"""The rules of redemption as Markdown, written from the tables that decide: `python -m functions.domain.rules`."""

from __future__ import annotations

from functions.domain.errors import PROBLEMS
from functions.domain.voucher import REFUSALS, SPARED, STATUSES, VETO_STATUS

REASONS = {
    "vetoed": "the voucher itself is suspended, void or reissued",
    "redeemed": "nothing is left on it",
    "recalled": "a veto on its segment binds it",
    "inactive": "neither it nor its segment was activated",
    "expired": "its `valid_until` is reached",
    "offered": "its holder offers it to another, who has not accepted yet",
}


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def markdown() -> str:
    """Three tables: what each status means, whom a veto spares, what a stranger is answered."""

    def yes(answer: bool) -> str:
        return "yes" if answer else ""

    statuses = [[f"`{s}`", yes(m.grants), yes(m.vetoes), yes(m.spent)] for s, m in STATUSES.items()]
    scopes = [
        [f"`{scope}`", ", ".join(f"`{s}`" for s in sorted(spared)) or "nobody"] for scope, spared in SPARED.items()
    ]
    refusals = [[f"`{reason}`", REASONS[reason], f"{PROBLEMS[key].status} `{key}`"] for reason, key in REFUSALS.items()]
    vetoes = ", ".join(f"`{action}` → `{status}`" for action, status in VETO_STATUS.items())
    return "\n\n".join(
        (
            "Redeemable = one grant, no veto, not expired, value left, not being given away.",
            _table(["status", "grants", "vetoes", "spent"], statuses),
            _table(["a veto of scope", "spares"], scopes),
            f"A voucher that a veto binds shows the status of its action: {vetoes}.",
            _table(["the first reason that holds", "when", "a stranger's answer"], refusals),
        )
    )


if __name__ == "__main__":
    print(markdown())
