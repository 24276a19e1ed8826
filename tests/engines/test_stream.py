"""Reading one answer: what is counted, and what each kind of broken answer is called."""

from __future__ import annotations

import time

import pytest
from openai_server import Behaviour, fake_server

from harness.engines.endpoint import Endpoint
from harness.engines.stream import AttemptFailed, ServerRefuses, ask
from harness.measure.served import Attempt


def asked(behaviour: Behaviour, chat: bool = False, timeout_s: float = 20.0, key: str | None = None) -> Attempt:
    path = "/v1/chat/completions" if chat else "/v1/completions"
    attempt = Attempt(due_s=time.monotonic(), sent_s=time.monotonic())
    with fake_server([behaviour]) as server:
        endpoint = Endpoint(server.base_url, key)
        ask(endpoint, path, {"model": "m"}, attempt, time.monotonic, timeout_s, lambda: None)
    return attempt


@pytest.mark.parametrize("chat", [False, True], ids=["completions", "chat"])
def test_pieces_are_stamped_and_tokens_are_those_of_usage(chat: bool) -> None:
    attempt = asked(Behaviour(tokens=5, usage={"prompt_tokens": 7, "completion_tokens": 9}), chat)
    assert len(attempt.pieces_s) == 5
    assert attempt.pieces_s == sorted(attempt.pieces_s)
    assert (attempt.input_tokens, attempt.output_tokens, attempt.tokens) == (7, 9, 9)
    assert attempt.reasoning_tokens is None


def test_reasoning_and_cached_tokens_are_kept_apart() -> None:
    usage = {"completion_tokens_details": {"reasoning_tokens": 3}, "prompt_tokens_details": {"cached_tokens": 6}}
    attempt = asked(Behaviour(tokens=5, reasoning=3, usage=usage), chat=True)
    assert (attempt.output_tokens, attempt.reasoning_tokens, attempt.reasoning_pieces) == (5, 3, 3)
    assert (attempt.input_tokens, attempt.cached_tokens) == (None, 6)


def test_without_usage_tokens_are_the_pieces_and_input_is_unknown() -> None:
    attempt = asked(Behaviour(tokens=5, usage=None))
    assert (attempt.input_tokens, attempt.output_tokens, attempt.tokens) == (None, None, 5)


def test_counts_that_are_none_are_not_taken_and_not_forgotten() -> None:
    usage = {"prompt_tokens": -5, "completion_tokens": 5.5, "prompt_tokens_details": {"cached_tokens": None}}
    attempt = asked(Behaviour(tokens=5, usage=usage))
    assert (attempt.input_tokens, attempt.output_tokens, attempt.tokens) == (None, None, 5)
    assert attempt.no_counts == {"input_tokens", "output_tokens"}
    assert attempt.sent_bytes == len('{"model": "m"}')
    assert attempt.usage_contradicts
    assert not attempt.without_usage


def test_an_answer_is_whole_without_the_word_done() -> None:
    assert asked(Behaviour(tokens=2, done=False)).output_tokens == 2


def test_tokens_without_text_count_when_the_answer_ends() -> None:
    attempt = asked(Behaviour(tokens=3, text=""))
    assert (len(attempt.pieces_s), attempt.tokens) == (1, 3)


def test_comments_and_data_over_several_lines_are_read() -> None:
    raw = b': ping\r\ndata: {"choices": [{"text": "a",\r\ndata: "finish_reason": "stop"}]}\r\n\r\n'
    assert len(asked(Behaviour(raw=raw)).pieces_s) == 1


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(status=429), "http-429"),
        (Behaviour(status=500), "http-500"),
        (Behaviour(status=503), "http-503"),
        (Behaviour(closed_after=2), "closed-midway"),
        (Behaviour(closed_after=0), "closed-midway"),
        (Behaviour(error_after=1), "error-in-stream"),
        (Behaviour(raw=b"data: {not json\n\n"), "malformed-stream"),
        (Behaviour(raw=b"data: [1]\n\n"), "malformed-stream"),
        (Behaviour(raw=b'data: {"choices": [null]}\n\n'), "malformed-stream"),
        (Behaviour(raw=b'data: {"choices": [{"delta": {"content": ["a"]}}]}\n\n'), "malformed-stream"),
        (Behaviour(raw=b'data: {"choices": [{"finish_reason": "stop"}]}\n\n'), "no-tokens"),
        (Behaviour(raw=b'data: {"choices": [{"finish_reason": 1}]}\n\n'), "malformed-stream"),
        (Behaviour(raw=b"data: [DONE]\n\n"), "no-finish-reason"),
        (Behaviour(raw=b""), "closed-midway"),
    ],
)
def test_a_broken_answer_is_named(behaviour: Behaviour, reason: str) -> None:
    with pytest.raises(AttemptFailed) as caught:
        asked(behaviour)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (b'data: {"choices": [{"text": " b", "finish_reason": "abort"}]}', "ended-abort"),  # SGLang, vLLM
        (b'data: {"choices": [{"text": "", "finish_reason": "content_filter"}]}', "ended-content_filter"),
        (b'data: {"object": "error", "message": "EngineDeadError", "code": 500}', "error-in-stream"),  # vLLM
        (b'event: error\ndata: {"message": "EngineDeadError"}', "error-in-stream"),
        (b'error: {"code": 500, "message": "EngineDeadError"}', "error-in-stream"),  # llama.cpp
        (b'data: {"choices": [{"text": " b", "finish_reason": ""}]}', "no-finish-reason"),
    ],
)
def test_the_word_done_does_not_make_an_answer_whole(last: bytes, reason: str) -> None:
    raw = b'event: message\ndata: {"choices": [{"text": " a"}]}\n\n' + last + b"\n\ndata: [DONE]\n\n"
    with pytest.raises(AttemptFailed) as caught:
        asked(Behaviour(raw=raw))
    assert caught.value.reason == reason
    assert reason != "error-in-stream" or "EngineDeadError" in caught.value.detail


def test_an_answer_that_does_not_end_is_a_timeout() -> None:
    with pytest.raises(AttemptFailed, match="timeout"):
        asked(Behaviour(tokens=100, token_s=0.1), timeout_s=0.25)


@pytest.mark.parametrize("chunked", [False, True], ids=["a line", "the length of a chunk"])
def test_bytes_that_trickle_in_without_a_line_do_not_renew_the_time_that_is_allowed(chunked: bool) -> None:
    headers = (("Transfer-Encoding", "chunked"),) if chunked else ()
    with pytest.raises(AttemptFailed, match="timeout"):  # the server ends after 1.2 s, which would be closed-midway
        asked(Behaviour(raw=b"0" * 60, trickle_s=0.02, headers=headers), timeout_s=0.2)


def test_nobody_there_is_connection_refused() -> None:
    attempt = Attempt(0.0, 0.0)
    with fake_server() as server:
        url = server.base_url
    with pytest.raises(AttemptFailed, match="connection-refused"):
        ask(Endpoint(url), "/v1/completions", {}, attempt, time.monotonic, 5.0, lambda: None)


def test_retry_after_is_taken_over() -> None:
    with pytest.raises(AttemptFailed) as caught:
        asked(Behaviour(status=429, headers=(("Retry-After", "3"),)))
    assert caught.value.retry_after_s == 3.0


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_what_will_never_be_answered_is_refused_at_once(status: int) -> None:
    with pytest.raises(ServerRefuses, match=str(status)):
        asked(Behaviour(status=status))


def test_an_answer_that_is_no_stream_is_refused() -> None:
    with pytest.raises(ServerRefuses, match="does not stream"):
        asked(Behaviour(content_type="application/json", raw=b"{}"))


def test_the_key_is_sent_and_shown_nowhere() -> None:
    with fake_server() as server:
        endpoint = Endpoint(server.base_url, "s3cret")
        ask(endpoint, "/v1/completions", {}, Attempt(0.0, 0.0), time.monotonic, 5.0, lambda: None)
        assert server.headers[0]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(endpoint)
    assert endpoint.scrubbed("bad key s3cret") == "bad key ***"
