"""Receipts of claims: JWS (RFC 7515) in compact form, signed with ES256 by a KMS key of their own.

Their public key is in the key set with a `kid` of its own. No access token is verified by that key, and a token's `typ`
is another one, so a receipt opens nothing. Signing is not deterministic: a repeat's receipt says the same under another
signature.
"""

from __future__ import annotations

import os

from functions.edge import tokens

TYPE = "kami-claim+jws"


def receipt(claim: str, serial: str, customer: str, at: int) -> str:
    """That a customer claimed a voucher, when (epoch seconds) and under which id."""
    arn = os.environ[tokens.RECEIPT_KEY_ARN]
    said = {"claim": claim, "serial": serial, "customer": customer, "at": at}
    return tokens.signed(arn, TYPE, said)
