"""Many runs at once against one tenant's budget: money is taken before it is spent, so that the limit is the limit."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph

from governor import RunStopped
from governor_langgraph import govern
from governor_sandbox import Sandbox, Scenario

LIMIT_USD = 0.01
POLICY = f"""
governor: 1
name: shared
identity: {{tenant: config.tenant}}        # from the run's config, never from the model
budgets:
  - {{id: tenant-day, scope: tenant, per: day, limit: {{usd: {LIMIT_USD}}}}}
on_exhausted: stop
"""
WAVES, AT_ONCE = 4, 10


def build(model: ChatOpenAI) -> Any:
    """One question, one answer."""

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()


async def ask(app: Any, tenant: str) -> bool:
    """Whether the run was answered."""
    try:
        await app.ainvoke({"messages": [("user", "Summarise this.")]}, {"configurable": {"tenant": tenant}})
        return True
    except RunStopped:
        return False


async def main() -> tuple[int, int, bool]:
    """Return runs answered, nano-USD on the provider's bill, and whether another tenant is still served."""
    with Sandbox(Scenario.from_text("default: {text: Done., pad_to_tokens: 100}")) as box:
        app = govern(build(ChatOpenAI(model="gpt-4.1", max_completion_tokens=200, **box.openai_kwargs())), POLICY)
        waves = [await asyncio.gather(*(ask(app, "acme") for _ in range(AT_ONCE))) for _ in range(WAVES)]
        spent = box.meter.bill().nano_usd
        other = await ask(app, "globex")
    answered = sum(map(sum, waves))
    print(f"{answered} of {WAVES * AT_ONCE} runs answered: ${spent / 1e9:.6f} of ${LIMIT_USD}; another tenant: {other}")
    return answered, spent, other


if __name__ == "__main__":
    asyncio.run(main())
