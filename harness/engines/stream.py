"""One request to a server that speaks OpenAI's protocol, its answer read as a stream of server-sent events.

Standard library only: a thread per request in flight costs little beside a model, and a blocking read is stamped when
it returns. The format of the events: WHATWG HTML, 9.2 (server-sent events); of their content: OpenAI API reference.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from harness.engines.endpoint import Endpoint, answer_until
from harness.errors import HarnessError
from harness.measure.served import Attempt

RETRY_STATUS = (408, 429, 500, 502, 503, 504, 529)
MOST_ERROR_BYTES = 2000
MOST_LINE_BYTES = 8 * 1024**2
MOST_TOLD = 200  # characters of what a server says
# Finish reasons of a whole answer: OpenAI's, and eos_token and stop_sequence of TGI. Not content_filter, abort, error.
ENDS_WELL = frozenset({"stop", "length", "tool_calls", "function_call", "eos_token", "stop_sequence"})


class ServerRefuses(HarnessError):
    """The server says that what is asked will never be answered: another attempt would be the same."""

    kind = "server_refused"


class AttemptFailed(Exception):
    """Why one attempt has no whole answer, in a word; `detail` is what the server said of it."""

    def __init__(self, reason: str, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.retry_after_s = reason, detail, retry_after_s


def ask(
    endpoint: Endpoint,
    path: str,
    body: Mapping[str, Any],
    attempt: Attempt,
    now_s: Callable[[], float],
    timeout_s: float,
    first_piece: Callable[[], None],
) -> None:
    """Send one request and read its answer to the end; times and tokens are written into `attempt`.

    Args:
        endpoint: The server.
        path: Under its base URL.
        body: The request.
        attempt: Filled in while the answer comes.
        now_s: The clock that windows are stamped by.
        timeout_s: From now to the last byte, however slowly bytes come.
        first_piece: Called when the first content has come.

    Raises:
        AttemptFailed: No whole answer.
        ServerRefuses: The server will never answer this.
    """
    deadline_s = now_s() + timeout_s
    content = json.dumps(body)
    attempt.sent_bytes = len(content)
    connection = endpoint.connection(timeout_s)
    try:
        connection.connect()
        connection.sock.settimeout(max(deadline_s - now_s(), 1e-3))
        connection.request("POST", endpoint.path(path), content, endpoint.headers)
        with answer_until(connection.sock, "POST", now_s, deadline_s) as response:
            if response.status != 200:
                raise _refused(endpoint, path, response)
            if "text/event-stream" not in (response.getheader("Content-Type") or ""):
                raise ServerRefuses(
                    f"{endpoint.base_url}{path} does not stream: it answered {response.getheader('Content-Type')}.",
                    "The first token's time is not known without a stream. Is it an OpenAI-compatible server?",
                )
            read_answer(response, attempt, now_s, first_piece)
    except AttemptFailed as failed:
        failed.detail = endpoint.scrubbed(failed.detail)
        raise
    except TimeoutError as error:
        raise AttemptFailed("timeout", f"not ended after {timeout_s:g} s") from error
    except ConnectionRefusedError as error:
        raise AttemptFailed("connection-refused", str(error)) from error
    except (http.client.HTTPException, ssl.SSLError, OSError) as error:
        reason = "closed-midway" if attempt.pieces_s else "connection-lost"
        raise AttemptFailed(reason, f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _refused(endpoint: Endpoint, path: str, response: http.client.HTTPResponse) -> Exception:
    status = response.status
    told = response.read(2 * MOST_ERROR_BYTES).decode("utf-8", errors="replace")
    detail = endpoint.scrubbed(told)[:MOST_ERROR_BYTES].strip()  # cut last: half a key is one too
    if status in RETRY_STATUS:
        return AttemptFailed(f"http-{status}", detail, _seconds(response.getheader("Retry-After")))
    hints = {
        401: "Name the environment variable with the key in server.api_key_env.",
        403: "The key in server.api_key_env is not allowed to do this.",
        404: "Does the server have this model (server.served_model) and this protocol (server.api)?",
    }
    return ServerRefuses(
        f"{endpoint.base_url}{path} answered {status}: {detail or response.reason}.",
        hints.get(status, "server.extra_body adds fields to every request, and takes one out with null."),
    )


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None  # a date: not worth a parser


def read_answer(
    response: IO[bytes] | http.client.HTTPResponse,
    attempt: Attempt,
    now_s: Callable[[], float],
    first_piece: Callable[[], None],
) -> None:
    """Read an answer's events to its end. Arguments and errors as of `ask`."""
    ended = done = False
    for kind, data, at_s in _events(response, now_s):
        if done := data.strip() == "[DONE]":
            break
        event = _content(kind, data)
        try:
            content, reasoning, finish = _piece(event)
        except (AttributeError, TypeError) as error:  # JSON, but not of the protocol's shape
            raise AttemptFailed("malformed-stream", data[:MOST_TOLD]) from error
        if finish is not None and finish not in ENDS_WELL:
            raise AttemptFailed(f"ended-{finish[:40]}", data[:MOST_TOLD])
        if content or reasoning:
            attempt.pieces_s.append(at_s)
            attempt.reasoning_pieces += bool(reasoning and not content)
            if len(attempt.pieces_s) == 1:
                first_piece()
        ended = ended or finish is not None
        _count(event.get("usage"), attempt)
    if not ended:
        told = f"after {len(attempt.pieces_s)} pieces, without a finish_reason"
        raise AttemptFailed("no-finish-reason" if done else "closed-midway", told)
    if not attempt.pieces_s:
        if not attempt.output_tokens:
            raise AttemptFailed("no-tokens")
        attempt.pieces_s.append(now_s())  # tokens that make no text: all that is known is that they have come by now
        first_piece()


def _events(
    response: IO[bytes] | http.client.HTTPResponse, now_s: Callable[[], float]
) -> Iterator[tuple[str, str, float]]:
    """(kind, data, when its last line came) of each event until the stream ends; llama.cpp once had lines `error:`."""
    kind, lines = "", list[str]()
    while True:
        line = response.readline(MOST_LINE_BYTES)
        text = line.decode("utf-8", errors="replace").rstrip("\r\n")
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name in ("data", "error"):
            lines.append(value)
            if sum(map(len, lines)) > MOST_LINE_BYTES:
                raise AttemptFailed("malformed-stream", f"an event of more than {MOST_LINE_BYTES >> 20} MiB")
            kind = "error" if name == "error" else kind
        elif not text and (lines or kind == "error"):
            yield kind, "\n".join(lines), now_s()
        if not text:
            kind, lines = "", []
        if not line:
            return


def _content(kind: str, data: str) -> dict[str, Any]:
    """An event's JSON.

    Raises:
        AttemptFailed: It is an error, as servers tell one (by its kind, its field or its object), or no JSON object.
    """
    if kind == "error":
        raise AttemptFailed("error-in-stream", data[:MOST_TOLD])
    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AttemptFailed("malformed-stream", data[:MOST_TOLD]) from error
    if not isinstance(event, dict):
        raise AttemptFailed("malformed-stream", data[:MOST_TOLD])
    if event.get("error"):
        raise AttemptFailed("error-in-stream", str(event["error"])[:MOST_TOLD])
    if event.get("object") == "error":
        raise AttemptFailed("error-in-stream", data[:MOST_TOLD])
    return event


def _piece(event: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """Text and reasoning of one event, and why an answer ends with it; None where it goes on."""
    content = reasoning = ""
    finish: str | None = None
    for choice in event.get("choices") or ():
        delta = choice.get("delta") or {}
        content += choice.get("text") or delta.get("content") or ("call" if delta.get("tool_calls") else "")
        reasoning += delta.get("reasoning_content") or delta.get("reasoning") or ""
        why = choice.get("finish_reason")
        finish = (why + "") if why else finish  # a TypeError unless it is text
    return content, reasoning, finish


def _count(usage: Any, attempt: Attempt) -> None:
    """Tokens as the last usage of a stream states them; what it leaves out stays unknown."""
    if not isinstance(usage, dict):
        return
    written, read = (usage.get(f"{part}_tokens_details") for part in ("completion", "prompt"))
    for name, value in (
        ("input_tokens", usage.get("prompt_tokens")),
        ("output_tokens", usage.get("completion_tokens")),
        ("reasoning_tokens", written.get("reasoning_tokens") if isinstance(written, dict) else None),
        ("cached_tokens", read.get("cached_tokens") if isinstance(read, dict) else None),
    ):
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            setattr(attempt, name, value)
            attempt.no_counts.discard(name)
        elif value is not None:
            attempt.no_counts.add(name)
