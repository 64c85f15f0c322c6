"""Signatures by Standard Webhooks: who receives can prove that it was us, and when."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime

from standardwebhooks import Webhook

PREFIX = "whsec_"


def signing_key(secret: str) -> bytes:
    """The key of a configured secret: `whsec_` and base64, or the bytes of any other text.

    ValueError, without the secret in it, when it cannot be one.
    """
    if not secret:
        raise ValueError("the secret is empty")
    if not secret.startswith(PREFIX):
        return secret.encode()
    coded = secret.removeprefix(PREFIX).rstrip("=")
    try:
        key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ is not base64") from None
    if not key:
        raise ValueError("nothing follows whsec_")
    return key


def signed_headers(key: bytes, *, webhook_id: str, at: datetime, body: str) -> Mapping[str, str]:
    """The three headers. The id is the same on each try, the time stamp is the try's own."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(key).sign(webhook_id, at, body),
    }
