"""How a served model is asked: which server, started or found, and under which load. Part of a RunSpec."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, model_validator

from harness.frozen import Count, Frozen, Positive, Seconds

PORT = "{port}"  # in a command: a free port of this machine
MODEL = "{model}"  # in a command: the model's id or folder
# --api-key, --hf_token=..., HF_TOKEN=... before a program; not --eos-token, nor --max-num-batched-tokens.
SECRET_FLAG = re.compile(
    r"(?i)(-{0,2}([a-z0-9]+[-_])*((api|auth|access|secret|hf|hub)[-_]?(key|token)|password)|--token)"
)


class ServerOptions(Frozen):
    """A server that speaks OpenAI's completions or chat protocol, and the load that is put on it.

    Either `concurrency` (closed loop: so many requests are in flight at any time) or `request_rate_hz` (open loop:
    requests come at random, whether or not earlier ones are answered).
    """

    command: tuple[str, ...] = Field(
        (), description="starts the server; {port}, {model} and {python} are filled in; none: it runs already"
    )
    base_url: str | None = Field(
        None, description="where it listens, without /v1; none: http://127.0.0.1 and a free port, {port} in the command"
    )
    api: Literal["completions", "chat"] = "completions"
    served_model: str | None = Field(None, description="the model's name at the server; none: model.id")
    concurrency: Count | None = Field(None, description="closed loop: requests in flight")
    request_rate_hz: Positive | None = Field(None, description="open loop: mean of the Poisson arrivals per second")
    max_in_flight: Annotated[int, Field(ge=1, le=4096)] = Field(
        256, description="open loop: arrivals beyond it are not sent, and counted"
    )
    health_path: str = Field("/health", pattern=r"^/", description="answers 200 once the server is ready")
    ready_timeout_s: Seconds = Field(600.0, description="to become healthy")
    ramp_timeout_s: Seconds = Field(120.0, description="to reach the load, each time")
    request_timeout_s: Seconds = Field(300.0, description="for one request, from sending to its last token")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(2, description="further attempts of a request that failed")
    retry_wait_s: Positive = Field(0.5, description="before the first of them; doubled for each after it")
    extra_body: dict[str, JsonValue] = Field(
        {}, description="added to every request, e.g. ignore_eos: true; null takes a field out"
    )
    api_key_env: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="environment variable that holds the key; never the key"
    )
    allow_exposed: bool = Field(False, description="start a server although other machines can reach it")
    pids: tuple[Count, ...] = Field((), description="processes of a running server: theirs are our work on the GPU")
    sources_host: str | None = Field(
        None, description="a server elsewhere: its host's name, which says that the power sources are read there"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_of_each(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        command, url = content.get("command") or (), content.get("base_url")
        if not command and url is None:
            raise ValueError("a server needs a command that starts it, or the base_url of one that runs")
        if command and content.get("pids"):
            raise ValueError("pids are those of a running server; one that is started here is known")
        if (content.get("concurrency") is None) == (content.get("request_rate_hz") is None):
            raise ValueError("give either concurrency (closed loop) or request_rate_hz (open loop)")
        return content

    @model_validator(mode="after")
    def _can_be_reached(self) -> ServerOptions:
        if self.command and self.base_url is None and not any(PORT in word for word in self.command):
            raise ValueError("the command needs {port} where the server takes its port, or give base_url")
        if self.base_url is not None:
            parts = urlsplit(self.base_url)
            try:
                parts.port  # noqa: B018 - urlsplit looks at it only when asked
            except ValueError as error:
                raise ValueError("base_url has a port that is none: it must be a number from 1 to 65535") from error
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("base_url must be like http://127.0.0.1:8000")
            if parts.username or parts.password or parts.query:
                raise ValueError("base_url must hold no user, password or query: a key belongs into api_key_env")
        return self

    @model_validator(mode="after")
    def _holds_no_secret(self) -> ServerOptions:
        if any(SECRET_FLAG.fullmatch(word.partition("=")[0]) for word in self.command):
            raise ValueError(
                "the command is stored with the result, so it must hold no key: let the server read it from its "
                "environment (vLLM: VLLM_API_KEY), and name that variable in api_key_env"
            )
        if {"authorization", "api_key"} & {key.lower() for key in self.extra_body}:
            raise ValueError("extra_body is stored with the result, so it must hold no key: use api_key_env")
        return self

    @property
    def label(self) -> str:
        """The load in a few letters: c8 for eight in flight, r2.5 for 2.5 requests a second."""
        return f"c{self.concurrency}" if self.concurrency is not None else f"r{self.request_rate_hz:g}"
