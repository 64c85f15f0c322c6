"""Why Slack gave no answer that can be read, what an operator does about it, and the proxy.

The sentences hold no address with a password: of a proxy they name host and port.
"""

import ipaddress
import os
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.http_retry.request import HttpRequest
from slack_sdk.http_retry.response import HttpResponse
from slack_sdk.http_retry.state import RetryState
from slack_sdk.web.async_client import AsyncWebClient

PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
"""In the order in which the SDK takes the first that is set."""
_LOGIN_REQUIRED = 407
BRIEF_S = 5
"""The longest pause before a post is repeated: much later another process would take it over, and
post what this one posts after all (`Timing.posting`)."""
_NETWORK = "Check the network, the firewall, proxies and SLACK_API_URL."

NO_USABLE_ANSWER = (
    aiohttp.ClientError,
    SlackClientError,
    OSError,  # TimeoutError too
    AttributeError,  # the SDK's, for a text or a list where Slack answers with an object
    ValueError,  # a body in another encoding, a proxy's address that cannot be used
)
"""What a call raises besides Slack's refusal; `cause_of` names the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Two sentences."""

    found: str
    fix: str = _NETWORK

    def __str__(self) -> str:
        return f"{self.found} {self.fix}"


def answer_of(error: SlackApiError) -> Mapping[str, object] | None:
    """Slack's own JSON object in a refused call; None: what answered was not Slack's API."""
    data = getattr(error.response, "data", None)
    return data if isinstance(data, Mapping) and data.get("error") else None


def cause_of(error: BaseException, *, proxy: str | None) -> Cause:
    """Name the cause of a call without a usable answer. `proxy`: the one that the call uses."""
    match error:
        case _ if proxy is not None and not proxy.lower().startswith(("http://", "https://")):
            return Cause(
                found=f"{_proxy(proxy)} cannot be used: its address does not begin with http://.",
                fix=f"Write http://host:port of an HTTP proxy into {_proxy_variable()}.",
            )
        case aiohttp.ClientHttpProxyError():
            return _proxy_refused(error.status, error.message, proxy)
        case SlackApiError() | aiohttp.WSServerHandshakeError():
            return _not_slack(error, proxy)
        case aiohttp.ClientProxyConnectionError():
            return Cause(
                found=f"{_proxy(proxy)} cannot be reached: {_text(error.os_error)}.",
                fix=f"Start it, or correct {_proxy_variable()}; NO_PROXY names hosts without it.",
            )
        case _:
            return _connection(error)


def _connection(error: BaseException) -> Cause:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or "it was refused"
            return Cause(
                found=f"the certificate of {error.host} is not trusted: {why}.",
                fix="Name a file with the CA that signed it (a proxy's, perhaps) in SSL_CERT_FILE.",
            )
        case aiohttp.ClientConnectorDNSError():
            return Cause(found=f"{error.host} has no address here: {_text(error.os_error)}.")
        case aiohttp.ClientConnectorError():
            where = f"{error.host}:{error.port}"
            return Cause(found=f"no connection to {where}: {_text(error.os_error)}.")
        case TimeoutError():
            return Cause(found="no answer in time.")
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | ConnectionError():
            return Cause(found="the connection was closed before an answer came.")
        case AttributeError() | ValueError():
            return Cause(
                found="what answered was not Slack's JSON.",
                fix="Does a login page of this network, or a proxy, answer for SLACK_API_URL?",
            )
        case _:
            return Cause(found=f"{type(error).__name__}: {_text(error)}.")


def _not_slack(error: SlackApiError | aiohttp.WSServerHandshakeError, proxy: str | None) -> Cause:
    if isinstance(error, SlackApiError):
        response = error.response
        status = getattr(response, "status_code", None) or getattr(response, "status", 0)
        headers = getattr(response, "headers", {})
    else:
        status, headers = error.status, error.headers or {}
    if status == _LOGIN_REQUIRED:
        return _proxy_refused(status, "", proxy)
    kind = str(headers.get("Content-Type", "")).partition(";")[0]
    shown = f"HTTP {status}" + (f", {kind}" if kind else "")
    return Cause(
        found=f"what answered was not Slack's JSON ({shown}).",
        fix="Does a login page of this network, or a proxy, answer for SLACK_API_URL?",
    )


def _proxy_refused(status: int, message: str, proxy: str | None) -> Cause:
    if status == _LOGIN_REQUIRED:
        return Cause(
            found=f"{_proxy(proxy)} refuses the login (407).",
            fix=f"Correct the user and the password in {_proxy_variable()}.",
        )
    shown = f"{status} {message}".strip()
    return Cause(
        found=f"{_proxy(proxy)} opens no connection to Slack ({shown}).",
        fix=f"Allow Slack's hosts there, or name another proxy in {_proxy_variable()}.",
    )


def _proxy(address: str | None) -> str:
    """`the proxy HOST:PORT`, without user and password."""
    try:
        parts = urllib.parse.urlsplit(address or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        return "the proxy"
    return f"the proxy {host}:{port}" if port else f"the proxy {host}"


def _proxy_variable() -> str:
    return next(
        (name for name in PROXY_VARIABLES if os.environ.get(name, "").strip()), "HTTPS_PROXY"
    )


def _text(error: BaseException) -> str:
    """One line, without the final full stop."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(said).split()).rstrip(".")


def bypasses_proxy(url: str) -> bool:
    """Whether that address must be reached without a proxy."""
    host = urllib.parse.urlsplit(url).hostname or ""
    if host == "localhost" or urllib.request.proxy_bypass(host):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class BriefRateLimit(AsyncRateLimitErrorRetryHandler):
    """Repeats a call after a 429, but only if Slack asks for seconds."""

    async def prepare_for_next_attempt_async(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> None:
        named = {} if response is None else response.headers
        first = next((value[0] for key, value in named.items() if key.lower() == "retry-after"), "")
        if first.isdecimal() and int(first) > BRIEF_S:
            return  # the SDK goes on only where another attempt is asked for
        await super().prepare_for_next_attempt_async(
            state=state, request=request, response=response, error=error
        )


def sibling_of(web: AsyncWebClient, *handlers: AsyncRetryHandler) -> AsyncWebClient:
    """The same client and session with retry handlers. The SDK would read the proxy again."""
    sibling = AsyncWebClient(
        token=web.token,
        base_url=web.base_url,
        session=web.session,
        ssl=web.ssl,
        retry_handlers=list(handlers),
    )
    sibling.proxy = web.proxy
    return sibling
