"""Requests to a server: a limited number at once, tried again where that can help, every failure one sentence."""

from __future__ import annotations

import json
import queue
import random
import ssl
import threading
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.served.address import KEY_VARIABLE, key_from_environment

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 6
ANSWER_SECONDS = 600.0
FIRST_WAIT = 0.5  # seconds, doubled from one attempt to the next
LONGEST_WAIT = 300.0  # which a server may ask for; beyond, the run ends and goes on later
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_SHOWN = 300  # letters of a server's own words


class RefusalError(ModelError):
    """A request that the server refused.

    Attributes
    ----------
    status
        HTTP's number for the reason.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """A server that is asked over HTTP.

    Parameters
    ----------
    concurrency
        Requests at once, at most.
    """

    def __init__(self, url: str, *, concurrency: int) -> None:
        httpx = _httpx()
        self.url = url
        self.concurrency = concurrency
        self._key = key_from_environment()
        self._stopped = threading.Event()
        self._answering: str | None = None
        self._has_answered = False
        self._client = httpx.Client(
            headers={} if self._key is None else {"Authorization": f"Bearer {self._key}"},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=10.0),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
        )
        weakref.finalize(self, self._client.close)

    def __repr__(self) -> str:
        return f"Server({self.url!r}, concurrency={self.concurrency})"

    def get(self, url: str) -> Any:
        """Return what is at a URL, from JSON; None where there is nothing.

        Raises
        ------
        ModelError
            If there is no answer, or one that is no JSON object.
        """
        try:
            return self._ask("GET", url, None)
        except RefusalError as refusal:
            if refusal.status in (404, 405, 501):
                return None
            raise

    def post(self, url: str, body: dict[str, Any]) -> Any:
        """Return the answer to a JSON object, from JSON.

        Raises
        ------
        RefusalError
            If the server refuses the request.
        ModelError
            If there is no answer, or one that is no JSON.
        """
        return self._ask("POST", url, body)

    def of_same_model(self, answer: Any) -> Any:
        """Return an answer, whose model must be that of the first one.

        Raises
        ------
        ModelError
            If it is another: the server's model was changed.
        """
        named = answer.get("model") if isinstance(answer, dict) else None
        if self._answering is None:
            self._answering = named
        elif named != self._answering:
            raise ModelError(
                f"{self.url}: the server answered as model {self._answering!r}, and now as {named!r}; what was scored "
                "is kept; start the server with one model, and run the same command again"
            )
        return answer

    def for_all(self, items: Sequence[T], work: Callable[[T], R], done: Callable[[T], None]) -> list[R]:
        """Do some work for every item, several at once; say in this thread which are done.

        The first failure, or an interrupt, ends all of it; what waits for another attempt ends too.
        """
        stopped = self._stopped = threading.Event()
        places: queue.SimpleQueue[int] = queue.SimpleQueue()
        results: queue.SimpleQueue[tuple[int, R | BaseException]] = queue.SimpleQueue()

        def run() -> None:
            while not stopped.is_set():
                try:
                    place = places.get_nowait()
                except queue.Empty:
                    return
                try:
                    results.put((place, work(items[place])))
                except BaseException as error:
                    results.put((place, error))

        for place in range(len(items)):
            places.put(place)
        # Nobody waits for a daemon's request at the end of the process, when it was interrupted.
        for _ in range(min(self.concurrency, len(items))):
            threading.Thread(target=run, name="served", daemon=True).start()
        found: dict[int, R] = {}
        try:
            for _ in items:
                place, result = results.get()
                if isinstance(result, BaseException):
                    raise result
                found[place] = result
                done(items[place])
        finally:
            stopped.set()
            self._stopped = threading.Event()
        return [found[place] for place in range(len(items))]

    def _ask(self, method: str, url: str, body: dict[str, Any] | None) -> Any:
        stopped = self._stopped
        for attempt in range(ATTEMPTS):
            failure, wait = self._attempt(method, url, body)
            if not isinstance(failure, ModelError):
                return failure
            if wait is None or attempt + 1 == ATTEMPTS:
                raise failure
            longest = FIRST_WAIT * 2**attempt
            if stopped.wait(max(wait, longest * random.uniform(0.5, 1.0))):
                raise failure
        raise AssertionError

    def _attempt(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[Any, float | None]:
        """Return an answer; or an error, and after how many seconds it may be tried again: None for never."""
        import httpx

        try:
            answer = self._client.request(method, url, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return self._no_server(error), 0.0 if self._has_answered else None
        except httpx.InvalidURL as error:
            return ModelError(f"load_model: {url!r} is no URL ({error})"), None
        except httpx.TimeoutException:
            return ModelError(
                f"{url}: the server has not answered within {ANSWER_SECONDS:.0f} s; give it fewer requests at once "
                "(concurrency)"
            ), None
        except httpx.TransportError as error:
            name = type(error).__name__
            return ModelError(f"{url}: the server's answer did not come or was cut short ({name}); see its log"), 0.0
        self._has_answered = True
        if answer.status_code == 200:
            return self._read(url, answer)
        refusal = self._refusal(url, answer)
        if answer.status_code not in _AGAIN:
            return refusal, None
        wait = _asked_wait(answer.headers.get("Retry-After"))
        if wait > LONGEST_WAIT:
            return RefusalError(f"{refusal}; it asks to wait {wait:,.0f} s", answer.status_code), None
        return refusal, wait

    def _read(self, url: str, answer: Any) -> tuple[Any, float | None]:
        try:
            found = json.loads(answer.content)
        except (ValueError, RecursionError):
            begins = self._shown(answer.text)
            return ModelError(f"{url}: wanted JSON, got an answer that is none or was cut short: {begins!r}"), None
        if not isinstance(found, dict | list):
            return ModelError(f"{url}: wanted a JSON object, got {self._shown(str(found))!r}"), None
        return found, None

    def _refusal(self, url: str, answer: Any) -> RefusalError:
        status, said = answer.status_code, self._shown(_words(answer))
        if status in (401, 403):
            how = "the key in" if self._key else "a request without a key; put it into the environment variable"
            return RefusalError(f"{url}: the server refuses ({status}) {how} {KEY_VARIABLE}: {said}", status)
        if 300 <= status < 400:
            return RefusalError(
                f"{url}: the server sends its clients elsewhere ({status}), which is not followed; give that URL",
                status,
            )
        return RefusalError(f"{url}: the server refuses the request ({status}): {said}", status)

    def _no_server(self, error: Exception) -> ModelError:
        reason = self._shown(str(error))
        if isinstance(_cause(error), ssl.SSLError) or "SSL" in reason:
            hint = (
                "the port speaks plain HTTP, so use http://"
                if "WRONG_VERSION" in reason
                else ("set SSL_CERT_FILE to the certificate of the server's authority")
            )
            return ModelError(f"{self.url}: no safe connection (TLS: {reason}); {hint}")
        return ModelError(f"{self.url}: no server answers ({reason}); check host and port, and that the server runs")

    def _shown(self, text: str) -> str:
        """Return the beginning of a server's words in one line, without the key, which some repeat."""
        line = " ".join((text.replace(self._key, "[key]") if self._key else text).split())
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise ModelError(
            "load_model: a served model needs the package httpx, which is not installed; run: pip install httpx"
        ) from error
    return httpx


def _cause(error: BaseException) -> BaseException:
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return error


def _words(answer: Any) -> str:
    """Return what a server says of an error: in OpenAI's form, in FastAPI's, or as it is."""
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        return str(answer.text) or "no reason given"
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _asked_wait(header: str | None) -> float:
    """Return the seconds that a Retry-After asks for: a number, or a date."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
