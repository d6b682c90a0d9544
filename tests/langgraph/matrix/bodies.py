"""Ways in which node code calls a model. Each says how many calls reach the provider."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.prompt_values import StringPromptValue
from langchain_core.runnables import RunnableLambda

from tests.langgraph.matrix.ground import Answer, Ground, atext_of, joined, text_of

Body = Callable[[Ground], str]
ABody = Callable[[Ground], Awaitable[str]]

SYNC: dict[str, tuple[Body, int]] = {}
"""Name to the body and its number of provider calls."""
ASYNC: dict[str, tuple[ABody, int]] = {}
ASK: list[BaseMessage] = [HumanMessage("what is x?")]


def body(calls: int = 1) -> Callable[[Body], Body]:
    def register(made: Body) -> Body:
        SYNC[made.__name__] = (made, calls)
        return made

    return register


def abody(calls: int = 1) -> Callable[[ABody], ABody]:
    def register(made: ABody) -> ABody:
        ASYNC[made.__name__] = (made, calls)
        return made

    return register


@body()
def invoke(g: Ground) -> str:
    return str(g.model.invoke(ASK).text)


@body()
def stream(g: Ground) -> str:
    return text_of(g.model.stream(ASK))


@body(2)
def batch(g: Ground) -> str:
    return joined(g.model.batch([ASK, ASK]))


@body(2)
def with_retry(g: Ground) -> str:
    return str(g.broken(1).with_retry(stop_after_attempt=3, wait_exponential_jitter=False).invoke(ASK).text)


@body(2)
def with_fallbacks(g: Ground) -> str:
    return str(g.broken().with_fallbacks([g.fresh()]).invoke(ASK).text)


@body()
def with_structured_output(g: Ground) -> str:
    answer: Any = g.structured().with_structured_output(Answer).invoke(ASK)
    return answer.text


@body()
def bound_tools(g: Ground) -> str:
    return str(g.model.bind_tools([g.tool("search")]).invoke(ASK).text)


@body()
def constructed_inside(g: Ground) -> str:
    return str(g.fresh().invoke(ASK).text)


@body()
def in_a_sequence(g: Ground) -> str:
    return str((RunnableLambda(lambda given: ASK) | g.model).invoke("x").text)


@body(2)
def generate(g: Ground) -> str:
    return g.model.generate([ASK, ASK]).generations[0][0].text


@body()
def generate_prompt(g: Ground) -> str:
    return g.model.generate_prompt([StringPromptValue(text="what is x?")]).generations[0][0].text


@body()
def provider_generate(g: Ground) -> str:
    return g.model._generate(ASK).generations[0].text


@body()
def provider_stream(g: Ground) -> str:
    return text_of(chunk.message for chunk in g.model._stream(ASK))


@body()
def own_generate(g: Ground) -> str:
    return str(g.own.invoke(ASK).text)


@body()
def completion(g: Ground) -> str:
    return g.completing.invoke("what is x?")


@body(2)
def completion_batch(g: Ground) -> str:
    return " ".join(g.completing.batch(["what is x?", "and y?"]))


@body()
def without_callbacks(g: Ground) -> str:
    return str(g.model.invoke(ASK, config={"callbacks": []}).text)


@body()
def empty_context(g: Ground) -> str:
    return str(contextvars.Context().run(g.model.invoke, ASK).text)


@body()
def raw_thread(g: Ground) -> str:
    said: list[str] = []
    thread = threading.Thread(target=swallowing, args=(said, lambda: str(g.model.invoke(ASK).text)))
    thread.start()
    thread.join()
    return " ".join(said)


@body()
def thread_of_a_thread(g: Ground) -> str:
    said: list[str] = []

    def outer() -> None:
        inner = threading.Thread(target=swallowing, args=(said, lambda: str(g.model.invoke(ASK).text)))
        inner.start()
        inner.join()

    thread = threading.Thread(target=outer)
    thread.start()
    thread.join()
    return " ".join(said)


@body()
def pool(g: Ground) -> str:
    with ThreadPoolExecutor(1) as workers:
        return str(workers.submit(g.model.invoke, ASK).result().text)


@body()
def events(g: Ground) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return "".join(g.model.stream_events(ASK, version="v3").text)


@body(2)
def swallowed(g: Ground) -> str:
    said: list[str] = []
    for _ in range(2):
        swallowing(said, lambda: str(g.model.invoke(ASK).text))
    return " ".join(said)


def swallowing(said: list[str], call: Callable[[], str]) -> None:
    """User code that takes any refusal for bad luck; an exception in a thread reaches nobody anyway."""
    try:
        said.append(call())
    except Exception:
        said.append("nothing")


# --- async --------------------------------------------------------------------------------------------------------------


@abody()
async def ainvoke(g: Ground) -> str:
    return str((await g.model.ainvoke(ASK)).text)


@abody()
async def astream(g: Ground) -> str:
    return await atext_of(g.model.astream(ASK))


@abody(2)
async def abatch(g: Ground) -> str:
    return joined(await g.model.abatch([ASK, ASK]))


@abody()
async def sync_in_async(g: Ground) -> str:
    return str(g.model.invoke(ASK).text)


@abody(3)
async def gather(g: Ground) -> str:
    return joined(await asyncio.gather(*(g.model.ainvoke(ASK) for _ in range(3))))


@abody()
async def to_thread(g: Ground) -> str:
    return str((await asyncio.to_thread(g.model.invoke, ASK)).text)


@abody()
async def run_in_executor(g: Ground) -> str:
    return str((await asyncio.get_running_loop().run_in_executor(None, g.model.invoke, ASK)).text)


@abody()
async def task_with_an_empty_context(g: Ground) -> str:
    return str((await asyncio.create_task(g.model.ainvoke(ASK), context=contextvars.Context())).text)


@abody()
async def sync_in_an_empty_context(g: Ground) -> str:
    return str(contextvars.Context().run(g.model.invoke, ASK).text)


@abody()
async def agenerate(g: Ground) -> str:
    return (await g.model.agenerate([ASK])).generations[0][0].text


@abody()
async def provider_agenerate(g: Ground) -> str:
    return (await g.model._agenerate(ASK)).generations[0].text


@abody()
async def provider_astream(g: Ground) -> str:
    return await atext_of(g.model._astream(ASK))


@abody()
async def own_generate_async(g: Ground) -> str:
    return str((await g.own.ainvoke(ASK)).text)


@abody()
async def completion_async(g: Ground) -> str:
    return await g.completing.ainvoke("what is x?")


@abody()
async def events_v2(g: Ground) -> str:
    return str(len([event async for event in g.model.astream_events(ASK, version="v2")]))


@abody()
async def events_v3(g: Ground) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened: Any = await g.model.astream_events(ASK, version="v3")
        return "".join([text async for text in opened.text])


@abody(2)
async def with_retry_async(g: Ground) -> str:
    retrying = g.broken(1).with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    return str((await retrying.ainvoke(ASK)).text)


@abody(2)
async def with_fallbacks_async(g: Ground) -> str:
    return str((await g.broken().with_fallbacks([g.fresh()]).ainvoke(ASK)).text)
