import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from bot.webhooks.sender import signed_headers, signing_key


def test_a_standard_secret_is_base64_after_its_prefix() -> None:
    assert signing_key("whsec_c2VjcmV0") == b"secret"
    assert signing_key("whsec_c2VjcmV0cw==") == b"secrets"
    assert signing_key("whsec_c2VjcmV0cw") == b"secrets"


def test_other_secret_is_the_bytes_of_its_text() -> None:
    assert signing_key("swordfish ü") == "swordfish ü".encode()


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "whsec_a"])
def test_unusable_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match=r"empty|base64|nothing") as caught:
        signing_key(secret)
    assert not secret.removeprefix("whsec_") or secret not in str(caught.value)


@given(st.binary(min_size=1, max_size=64), st.text(max_size=300))
def test_a_receiver_with_the_same_secret_accepts_it(key: bytes, body: str) -> None:
    secret = f"whsec_{base64.b64encode(key).decode()}"
    headers = signed_headers(
        signing_key(secret), webhook_id="01K9", at=datetime.now(UTC), body=body
    )
    Webhook(secret).verify(body, dict(headers), json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + " ", dict(headers), json_parse=False)
