"""A server of chat completions on this machine, with faults on demand. It answers over real HTTP, from a thread.

    with running_endpoint(traces(form.schema)) as server:
        server.behave("c1", Refuse(429, headers={"Retry-After": "7"}))   # once; then it answers as it should
        engine = Endpoint(EndpointOptions(url=server.url, model=MODEL), form)

A request is told from others by its clip, which the text of its question names: `clip c1`.
"""

import json
import re
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import anyio
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from tests.processors.made_json import made_json

MODEL = "made/model"
Body = dict[str, Any]


@dataclass(frozen=True)
class Say:
    """An answer.

    text: None: what the answering function says. thinking, where: before it, and the field that it is put in; `content`
    puts it between tags. finish: None leaves it out. refusal: the field of that name. slow_s: before the first byte.
    drip_s: before each part. parts: of the stream. breaks_after: parts, after which the connection is dropped.
    ends_after: parts, after which the stream ends as if it were complete. fault_after: parts, after which an event
    tells of an error. usage: whether tokens are counted. whole: no stream, whatever is asked.
    """

    text: str | None = None
    thinking: str = ""
    where: Literal["reasoning", "reasoning_content", "content", "content_unopened"] = "reasoning"
    finish: str | None = "stop"
    refusal: str | None = None
    slow_s: float = 0.0
    drip_s: float = 0.0
    parts: int = 6
    breaks_after: int | None = None
    ends_after: int | None = None
    fault_after: int | None = None
    usage: bool = True
    whole: bool = False
    done: bool = True


@dataclass(frozen=True)
class Refuse:
    """An error. body: instead of the usual one with `message` in it."""

    status: int
    message: str = "made to fail"
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None


Behaviour = Say | Refuse


class EndpointServer:
    """What it does, and what it was asked.

    answer: gives the text for a request's body. without: field of a request to the message that refuses it; of
    `response_format`, its `type`. key: a bearer token that is wanted. always: what clips without a script are met with.
    asked: bodies in the order of their coming. answered: how often each clip was given a whole answer.
    most_at_once: requests under way at a time.
    """

    def __init__(self, answer: Callable[[Body], str]) -> None:
        self.answer = answer
        self.url = ""
        self.key: str | None = None
        self.always: Behaviour = Say()
        self.without: dict[str, str] = {}
        self.asked: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self.answered: Counter[str] = Counter()
        self._at_once = 0
        self._scripts: dict[str, list[Behaviour]] = defaultdict(list)

    def behave(self, clip_id: str, *behaviours: Behaviour) -> None:
        """What requests about a clip are met with, one after the other."""
        self._scripts[clip_id].extend(behaviours)

    @property
    def times(self) -> Counter[str]:
        """How often each clip was asked about."""
        return Counter(clip_of(body) for body in self.asked)

    @property
    def under_way(self) -> int:
        """Requests that are being answered now."""
        return self._at_once

    def app(self) -> FastAPI:
        """Both of its paths."""
        app = FastAPI()

        @app.get("/v1/models")
        async def models() -> Body:
            return {"object": "list", "data": [{"id": MODEL, "object": "model"}]}

        @app.post("/v1/chat/completions")
        async def completions(request: Request) -> Response:
            return await self._respond(await request.json(), request)

        return app

    async def _respond(self, body: Body, request: Request) -> Response:
        clip_id = clip_of(body)
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        streams = False
        try:
            behaviour = self._refusal(body, request) or self._next(clip_id)
            if isinstance(behaviour, Refuse):
                told = {"error": {"message": behaviour.message, "type": "made", "param": None, "code": None}}
                content = json.dumps(told) if behaviour.body is None else behaviour.body
                return Response(content, behaviour.status, behaviour.headers, "application/json")
            await anyio.sleep(behaviour.slow_s)
            text = behaviour.text if behaviour.text is not None else await run_in_threadpool(self.answer, body)
            if behaviour.whole or not body.get("stream"):
                self.answered[clip_id] += 1
                return JSONResponse(_whole(behaviour, text))
            streams = True
            events = self._counted(clip_id, behaviour, _events(behaviour, text, "stream_options" in body))
            return StreamingResponse(events, media_type="text/event-stream")
        finally:
            if not streams:
                self._at_once -= 1

    def _next(self, clip_id: str) -> Behaviour:
        script = self._scripts[clip_id]
        return script.pop(0) if script else self.always

    def _refusal(self, body: Body, request: Request) -> Refuse | None:
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return Refuse(401, f"Incorrect API key provided: {request.headers.get('authorization')}")
        if body["model"] != MODEL:
            return Refuse(404, f"The model `{body['model']}` does not exist.")
        used = [*body, body.get("response_format", {}).get("type")]
        message = next((message for name, message in self.without.items() if name in used), None)
        return None if message is None else Refuse(400, message)

    async def _counted(self, clip_id: str, say: Say, events: AsyncIterator[str]) -> AsyncIterator[str]:
        try:
            async for event in events:
                yield event
            self.answered[clip_id] += say.ends_after is None and say.fault_after is None
        finally:
            self._at_once -= 1


def clip_of(body: Body) -> str:
    """The clip that a request asks about; empty where it asks about none."""
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    match = re.search(r"clip (\w+)", text)
    return match[1] if match else ""


def traces(schema: Body, seed: int = 0) -> Callable[[Body], str]:
    """Answers with random traces in the schema's form; the same for the same clip and seed of the request."""

    def answer(body: Body) -> str:
        return json.dumps(made_json(schema, Random(f"{seed} {clip_of(body)} {body.get('seed')}")))

    return answer


def _counts(say: Say) -> Body:
    return {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120} if say.usage else {}


def _content(say: Say, text: str) -> str:
    opening = {"content": "<think>", "content_unopened": ""}.get(say.where)
    return text if opening is None or not say.thinking else f"{opening}{say.thinking}</think>\n\n{text}"


def _whole(say: Say, text: str) -> Body:
    message = {"role": "assistant", "content": _content(say, text), "refusal": say.refusal}
    if say.thinking and say.where.startswith("reasoning"):
        message[say.where] = say.thinking
    told: Body = {"id": "1", "object": "chat.completion", "model": MODEL}
    told |= {"choices": [{"index": 0, "message": message, "finish_reason": say.finish}]}
    return told | ({"usage": _counts(say)} if say.usage else {})


async def _events(say: Say, text: str, counts: bool) -> AsyncIterator[str]:
    """The events of a stream, as vLLM sends them: a part that names the role, parts, the end, usage, `[DONE]`."""
    deltas: list[Body] = [{"role": "assistant", "content": ""}]
    if say.thinking and say.where.startswith("reasoning"):
        deltas += [{say.where: part} for part in _cut(say.thinking, 3)]
    if say.refusal is not None:
        deltas += [{"refusal": part} for part in _cut(say.refusal, 2)]
    deltas += [{"content": part} for part in _cut(_content(say, text), say.parts)]
    for number, delta in enumerate(deltas):
        if number == say.breaks_after:
            raise ConnectionError("made to break off")
        if number == say.ends_after:
            return
        if number == say.fault_after:
            yield _event({"error": {"message": "the engine died", "type": "InternalServerError", "code": 500}})
            return
        await anyio.sleep(say.drip_s)
        yield ": still here\n\n" + _event(_chunk([{"index": 0, "delta": delta, "finish_reason": None}]))
    if say.finish is not None:
        yield _event(_chunk([{"index": 0, "delta": {}, "finish_reason": say.finish}]))
    if say.breaks_after is not None:
        raise ConnectionError("made to break off")
    if counts and say.usage:
        yield _event(_chunk([]) | {"usage": _counts(say)})
    if say.done:
        yield "data: [DONE]\n\n"


def _chunk(choices: list[Body]) -> Body:
    return {"id": "1", "object": "chat.completion.chunk", "model": MODEL, "choices": choices}


def _event(told: Body) -> str:
    return f"data: {json.dumps(told, ensure_ascii=False)}\n\n"


def _cut(text: str, parts: int) -> list[str]:
    size = max(1, -(-len(text) // parts))
    return [text[at : at + size] for at in range(0, len(text), size)]


@contextmanager
def serving_endpoints() -> Iterator[Callable[[Callable[[Body], str]], EndpointServer]]:
    """Makes servers, each with an answering function and an `url` of its own, in one thread; see `running_endpoint`."""
    listening = socket.create_server(("127.0.0.1", 0))
    apps: list[FastAPI] = []

    def serve(answer: Callable[[Body], str]) -> EndpointServer:
        made = EndpointServer(answer)
        made.url = f"http://127.0.0.1:{listening.getsockname()[1]}/{len(apps)}/v1"
        apps.append(made.app())
        return made

    async def served(scope: Body, receive: Any, send: Any) -> None:
        # A proxy is sent the whole URL.
        number, _, path = re.sub(r"^http://[^/]+", "", scope["path"]).removeprefix("/").partition("/")
        await apps[int(number)](scope | {"path": f"/{path}"}, receive, send)

    server = uvicorn.Server(uvicorn.Config(served, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield serve
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def running_endpoint(answer: Callable[[Body], str]) -> Iterator[EndpointServer]:
    """One server, which answers at `url`."""
    with serving_endpoints() as serve:
        yield serve(answer)
