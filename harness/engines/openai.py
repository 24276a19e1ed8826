"""A model behind a server that speaks OpenAI's protocol: vLLM, SGLang, TGI, llama.cpp, `transformers serve`.

The server is started here or runs already; it alone loads the model, so `dtype`, `device` and `attention` of the config
are not passed on: they belong into its command. Checked against `transformers serve` on a CPU and against a fake
server; never against vLLM, SGLang, TGI or llama.cpp, nor on a GPU.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.clock import Clock
from harness.engines.keeper import Keeper
from harness.engines.server import Server, refuse_elsewhere
from harness.engines.stream import ask
from harness.errors import ModelUnavailable, UserInputError
from harness.measure.served import Attempt
from harness.own_process import own_command, own_environment
from harness.records import Caveat
from harness.served_records import ServerInfo
from harness.specs import RunSpec, TextOptions
from harness.tasks.base import Request

SAVED_MODEL = "served-model"  # in the run's scratch folder, as long as the run lasts
LONGEST_BUILD_S = 1800.0


class OpenAIEngine:
    """A server, and what is asked of it. Not for batches: `keeper` makes the load that a session measures under."""

    def __init__(
        self,
        spec: RunSpec,
        scratch: Path,
        clock: Clock,
        gpu_uuids: tuple[str, ...],
        in_flight_changed: Callable[[int], None],
    ) -> None:
        """Nothing is started yet.

        Args:
            spec: The run; it has server options.
            scratch: The run's folder: the server's log is kept there.
            clock: Stamps everything.
            gpu_uuids: A started server sees these alone; empty leaves its environment as it is (simulated sources).
            in_flight_changed: Told of every change of the number of requests in flight.
        """
        assert spec.server is not None
        self._spec, self._options, self._scratch, self._clock = spec, spec.server, scratch, clock
        self._text = spec.text or TextOptions()
        self._gpu_uuids, self._in_flight_changed = gpu_uuids, in_flight_changed
        self._server: Server | None = None
        self._started_info: ServerInfo | None = None
        self._caveats: tuple[Caveat, ...] = ()

    @property
    def parameter_count(self) -> int | None:
        """The server does not tell."""
        return None

    @property
    def info(self) -> ServerInfo | None:
        """The server as it answered; None before load()."""
        return self._started_info

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """What to doubt about the server."""
        return self._caveats

    def load(self) -> None:
        """Start the server, or find it, and wait until it is healthy.

        Raises:
            UserInputError: It is on another machine, there is no key, or no such program.
            ModelUnavailable: A preset cannot be saved for it.
            ServerUnavailable: It ended, or was not healthy in time.
        """
        options = self._options
        if options.base_url is not None:
            refuse_elsewhere(options.base_url, options.sources_host)
        key = _key(options.api_key_env)
        model = self._spec.model.id
        if self._spec.model.weights == "random":
            model = str(_saved_preset(self._spec, self._scratch / SAVED_MODEL))
        elif os.path.isdir(model):
            model = str(Path(model).resolve())
        environment = own_environment()
        if self._gpu_uuids:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpu_uuids)
        else:
            environment.setdefault("OMP_NUM_THREADS", "1")  # as for the other engines on a simulated node
        self._model_name = options.served_model or model
        self._server = Server(options, model, self._scratch / "server.log", environment, key)
        self._server.start()
        self._started_info, self._caveats = self._server.info(), self._server.caveats()

    def keeper(self, requests: Iterator[Request]) -> Keeper:
        """The load, over endless requests."""
        assert self._server is not None
        return Keeper(
            self._ask,
            requests,
            self._options,
            self._text.new_tokens,
            self._spec.seed,
            self._clock,
            self._in_flight_changed,
            self._server.gone,
        )

    def pids(self) -> frozenset[int]:
        """The server's processes, as far as they are known."""
        return self._server.pids() if self._server is not None else frozenset()

    def close(self) -> None:
        """Stop a server that was started here; again is harmless."""
        if self._server is not None:
            self._server.stop()

    def _ask(self, request: Request, attempt: Attempt, first_piece: Callable[[], None]) -> None:
        assert self._server is not None
        path = "/v1/chat/completions" if self._options.api == "chat" else "/v1/completions"
        ask(
            self._server.endpoint,
            path,
            self.body(request),
            attempt,
            self._clock.now_s,
            self._options.request_timeout_s,
            first_piece,
        )

    def body(self, request: Request) -> Mapping[str, Any]:
        """What is sent: greedy, so many tokens, as a stream with usage; then what the config adds or takes out."""
        asked: dict[str, Any] = {
            "model": self._model_name,
            "max_tokens": self._text.new_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._options.api == "chat":
            asked["messages"] = [{"role": "user", "content": request.text}]
        else:
            asked["prompt"] = request.text
        together = asked | self._options.extra_body
        return {name: value for name, value in together.items() if value is not None}


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise UserInputError(
            f"The environment variable {variable}, which server.api_key_env names, is not set.",
            f"Set it where the harness starts, on a cluster before `ray start` of each node: export {variable}=...",
        )
    return key


def _saved_preset(spec: RunSpec, folder: Path) -> Path:
    """A preset with random weights and its tokenizer as files, made by another process: torch stays out of this one."""
    command = own_command(
        "harness.engines.saved_preset", spec.model.id, spec.task, spec.dtype, str(spec.seed), str(folder)
    )
    made = subprocess.run(
        command, env=own_environment(), capture_output=True, text=True, timeout=LONGEST_BUILD_S, check=False
    )
    if made.returncode != 0:
        reason = (made.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise ModelUnavailable(
            f"The preset {spec.model.id} could not be saved for the server: {reason}.",
            "It needs the extra 'models' and room on the results' disk.",
        )
    return folder
