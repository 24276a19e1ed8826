"""Starts an inference server and stops it, waits until it is healthy, and says what it is. Never more than loopback."""

from __future__ import annotations

import http.client
import ipaddress
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from harness.engines.endpoint import Endpoint, answer_until
from harness.engines.guard import GRACE_S
from harness.errors import HarnessError, UserInputError
from harness.own_process import own_command
from harness.power.processes import family
from harness.records import Caveat
from harness.redaction import redact_file, redacted
from harness.served_records import ServerInfo
from harness.serving import MODEL, PORT, ServerOptions

POLL_S = 0.2
ANSWER_TIMEOUT_S = 5.0
STOP_S = 25.0  # more than the guard takes to be patient and then not
LOG_TAIL_BYTES = 2000
MOST_ANSWER_BYTES = 100_000
LOG = "server.log"


class ServerUnavailable(HarnessError):
    """The server cannot be started, does not become healthy, or has ended."""

    kind = "server_unavailable"


# --- where it is ----------------------------------------------------------------------------------------


def refuse_elsewhere(base_url: str, sources_host: str | None) -> None:
    """Power is read on this machine, so the server has to run here.

    Args:
        base_url: Where it is.
        sources_host: The host that the config says the sources are of.

    Raises:
        UserInputError: It is elsewhere, or its name is not known.
    """
    host = urlsplit(base_url).hostname or ""
    if sources_host is not None and sources_host == host:
        return
    try:
        addresses = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise UserInputError(f"The host of {base_url} is not known: {error.strerror or error}.", "") from error
    own = {"0.0.0.0", "::"}  # asked for, they reach this machine
    own |= {entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries}
    elsewhere = [address for address in addresses if address not in own and not _is_loopback(address)]
    if elsewhere:
        raise UserInputError(
            f"The server {base_url} runs on another machine ({', '.join(sorted(elsewhere))}), and energy is read on "
            "this one: the joules would be those of other GPUs. There is no remote sensor yet.",
            f"Run the harness there. If the sources of this run are the GPUs of that host (a container of this machine "
            f"with a network of its own), say so with server.sources_host: {host}.",
        )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


# --- the server -----------------------------------------------------------------------------------------


class Server:
    """A server, started here or found running."""

    def __init__(
        self, options: ServerOptions, model: str, log: Path, environment: Mapping[str, str], key: str | None
    ) -> None:
        """Nothing is started yet.

        Args:
            options: The config's.
            model: Fills {model} in the command.
            log: Where a started server's output goes.
            environment: Of a started server.
            key: Sent with every request, and kept out of the log.
        """
        self._options, self._model, self._log, self._environment = options, model, log, environment
        self._guard: subprocess.Popen[bytes] | None = None
        self._seen: set[psutil.Process] = set()  # all that the guard has started: it may be killed before them
        self._ready_s: float | None = None
        url = options.base_url or f"http://127.0.0.1:{free_port()}"
        self.endpoint = Endpoint(url.rstrip("/"), key)

    def start(self) -> None:
        """Start it where the config has a command; wait until it is healthy.

        Raises:
            UserInputError: Another server listens there already, the command does not exist, or other machines can
                reach the server.
            ServerUnavailable: It ended, or was not healthy in time.
        """
        began_s = time.monotonic()
        if self._options.command:
            if self._asked("/") is not None:
                raise UserInputError(
                    f"Something answers at {self.endpoint.base_url} already, so the server cannot be started there.",
                    "Stop it, or leave 'command' out to measure the server that runs.",
                )
            self._launch()
        deadline_s = began_s + self._options.ready_timeout_s
        while True:
            status = self._asked(self._options.health_path)
            self._refuse_exposed(answers=status is not None)
            if status == 200:
                break
            if (gone := self.gone()) is not None:
                raise gone
            if time.monotonic() > deadline_s:
                told = "nothing answered" if status is None else f"it answered {status}"
                raise ServerUnavailable(
                    f"The server at {self.endpoint.base_url} was not healthy within "
                    f"{self._options.ready_timeout_s:g} s: at {self._options.health_path} {told}.{self._log_tail()}",
                    "Is server.health_path right? A large model needs a longer server.ready_timeout_s."
                    if self._options.command
                    else "Is the server running, and server.base_url right?",
                )
            time.sleep(POLL_S)
        self._ready_s = time.monotonic() - began_s if self._options.command else None

    def _launch(self) -> None:
        port = str(urlsplit(self.endpoint.base_url).port or 80)
        words = [
            word.replace(PORT, port).replace(MODEL, self._model).replace("{python}", sys.executable)
            for word in self._options.command
        ]
        words[0] = _program(words[0])
        if self.endpoint.key and any(self.endpoint.key in word for word in words):
            raise UserInputError(
                "The server's command holds the key of server.api_key_env, and commands are stored with results.",
                "Let the server read it from its environment.",
            )
        with self._log.open("wb") as log:
            self._guard = subprocess.Popen(
                own_command("harness.engines.guard", json.dumps(words)),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self._environment),
                start_new_session=True,  # what kills the worker's group must leave the guard alive to end the server
            )

    def _refuse_exposed(self, answers: bool) -> None:
        """A server without a key is anybody's who reaches it, and one that others use is not ours to measure."""
        port = urlsplit(self.endpoint.base_url).port
        if answers and self._options.command and not self._options.allow_exposed and self._listens_elsewhere(port):
            self.stop()
            raise UserInputError(
                f"What answers at {self.endpoint.base_url} is no process of the server's command: nothing could stop "
                "it later, nor tell who else uses it.",
                "Let the command stay in the foreground (no daemon, no container in the background); or start it "
                "yourself, and leave 'command' out.",
            )
        exposed = None if self._options.allow_exposed else self._listens_beyond(port)
        if exposed is not None:
            self.stop()
            raise UserInputError(
                f"The server listens beyond this machine ({exposed}): others can reach it while it is measured.",
                "Give its command --host 127.0.0.1; or set server.allow_exposed: true if that is meant.",
            )

    def gone(self) -> ServerUnavailable | None:
        """Why a started server is no more; None while it runs, and for one that was not started here."""
        if self._guard is None or (code := self._guard.poll()) is None:
            return None
        if code < 0:  # its own: of a server it says what the server's was
            return ServerUnavailable(
                f"The process that guards the server was killed by {signal.Signals(-code).name}.{self._log_tail()}",
                "The server is ended, because nothing would have stopped it later.",
            )
        return ServerUnavailable(
            f"The server ended with exit code {code}.{self._log_tail()}", f"Its whole output is kept in {LOG}."
        )

    def stop(self) -> None:
        """End a started server with all its processes; again is harmless."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        with suppress(BrokenPipeError):
            guard.stdin.close()
        try:
            guard.wait(STOP_S)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()
        if guard.returncode < 0:
            self._end_seen()
        self._scrub_log()

    def _end_seen(self) -> None:
        """What the guard would have ended: asked first, then made to."""
        for ask in (psutil.Process.terminate, psutil.Process.kill):
            for process in self._seen:
                with suppress(psutil.Error):  # gone; a new process under its number is not it
                    ask(process)
            _, left = psutil.wait_procs(self._seen, GRACE_S)
            self._seen = set(left)

    def pids(self) -> frozenset[int]:
        """Processes that are the server's: those that the config names, or those started, with all their children."""
        roots = [*self._options.pids, *([self._guard.pid] if self._guard is not None else [])]
        found = family(roots)
        if self._guard is not None:
            for pid in found - {self._guard.pid, *(process.pid for process in self._seen)}:
                with suppress(psutil.Error):
                    self._seen.add(psutil.Process(pid))
        return found

    def info(self) -> ServerInfo:
        """What the server says of itself."""
        models: tuple[str, ...] = ()
        status, headers, body = self._get("/v1/models")
        with suppress(ValueError, TypeError, AttributeError, KeyError):
            if status == 200:
                models = tuple(str(entry["id"]) for entry in json.loads(body)["data"])[:20]
        return ServerInfo(
            base_url=self.endpoint.base_url,
            started=bool(self._options.command),
            product=None if (product := headers.get("server")) is None else self._without_secrets(product),
            models=tuple(map(self._without_secrets, models)),
            ready_s=self._ready_s,
        )

    def caveats(self) -> tuple[Caveat, ...]:
        """What to doubt about a server that is where it is."""
        found = []
        if exposed := self._listens_beyond():
            told = f"The server listens beyond this machine ({exposed}): others may use it while it is measured."
            found.append(Caveat(code="server-exposed", message=told))
        if self._options.sources_host is not None:
            told = f"The config says that the power sources are of the server's host {self._options.sources_host}."
            found.append(Caveat(code="server-elsewhere", message=f"{told} Nothing here could check it."))
        elif not self._options.command:
            told = "Which GPUs the running server uses is the config's word (sources.gpus)."
            found.append(Caveat(code="gpus-by-word", message=told))
        return tuple(found)

    # --- details ---

    def _asked(self, path: str) -> int | None:
        """Status of a GET; None where nothing answers."""
        return self._get(path)[0]

    def _get(self, path: str) -> tuple[int | None, dict[str, str], bytes]:
        timeout_s = min(ANSWER_TIMEOUT_S, self._options.ready_timeout_s)
        deadline_s = time.monotonic() + timeout_s
        connection = self.endpoint.connection(timeout_s)
        try:
            connection.request("GET", self.endpoint.path(path), headers=self.endpoint.headers)
            with answer_until(connection.sock, "GET", time.monotonic, deadline_s) as response:
                headers = {name.lower(): value for name, value in response.getheaders()}
                return response.status, headers, response.read(MOST_ANSWER_BYTES)
        except (OSError, http.client.HTTPException):
            return None, {}, b""
        finally:
            connection.close()

    def _listens_beyond(self, port: int | None = None) -> str | None:
        """An address that other machines can reach, of any port or of one. Helpers of a server may listen as well."""
        for pid in self.pids() if self._options.command else ():
            with suppress(psutil.Error):
                for connection in psutil.Process(pid).net_connections(kind="tcp"):
                    listens = connection.status == psutil.CONN_LISTEN and port in (None, connection.laddr.port)
                    if listens and not _is_loopback(connection.laddr.ip):
                        return f"{connection.laddr.ip}:{connection.laddr.port}"
        return None

    def _listens_elsewhere(self, port: int | None) -> bool:
        """Whether none of the server's processes listens on its port, as far as they let us look."""
        for pid in self.pids():
            try:
                connections = psutil.Process(pid).net_connections(kind="tcp")
            except psutil.NoSuchProcess:
                continue
            except psutil.Error:
                return False
            if any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections):
                return False
        return self._guard is not None and self._guard.poll() is None

    def _log_tail(self) -> str:
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, self._log.stat().st_size - 4 * LOG_TAIL_BYTES))
                text = log.read().decode("utf-8", errors="replace")
        except OSError:
            return ""
        tail = self._without_secrets(text)[-LOG_TAIL_BYTES:].strip()  # cut last: half a key is one too
        return f" The end of its output:\n{tail}" if tail else ""

    def _without_secrets(self, text: str) -> str:
        return redacted(text, self._environment, self._keys())

    def _scrub_log(self) -> None:
        """Servers print their environment when they feel like it."""
        redact_file(self._log, self._environment, self._keys())

    def _keys(self) -> tuple[str, ...]:
        return (self.endpoint.key,) if self.endpoint.key else ()


def free_port() -> int:
    """A port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program(name: str) -> str:
    """The program of that name: beside this Python, as `transformers` is in a virtual environment, or on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if "/" not in name and beside.is_file() else shutil.which(name)
    if found is None:
        raise UserInputError(
            f"There is no program '{name}' to start the server with.",
            "Install it into the environment of the harness, or give its path in server.command.",
        )
    return found
