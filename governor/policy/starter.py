"""The text of a first policy for one graph: what it has, with every tool denied until a person says otherwise.

Pure text in, text out. Whatever names and descriptions a graph carries, the text loads without an error, and still does after the
lines of its tools are taken out of their comments.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

__all__ = ["starter"]

_TURNS = 25
"""Rounds that a cycle is given: LangGraph's own default bound on supersteps for most of its life (`recursion_limit=25`)."""
_TOKENS_A_CALL = 8_000
"""Tokens of a call with a middling history; only the ratio of two limits that a person will change."""
_LONGEST_GLOB = 200
_WIDTH = 110
_TIERS = ("frontier", "student", "commodity")
_COMMENT_COLUMN = 43

_HEAD = """\
# A first policy, written by `governor init` from the graph itself. Read it, change it, then: governor policy check <this file>
governor: 1
name: {name}
# owner: security@example.com              # whom to ask about this policy

"""
_TAIL = """\
context:
  cache: {ttl: 5m}                         # prompt caching at the provider, where it has any
  order: auto                              # what never changes first, so that the cache is hit

loops: {respond: [nudge, block, stop]}     # fruitless repetition is answered, mildest first

"""


def starter(
    *,
    name: str,
    nodes: Sequence[str] = (),
    tools: Mapping[str, str] | None = None,
    models: Sequence[str] = (),
    unpriced: Collection[str] = (),
    cycles: Sequence[Sequence[str]] = (),
) -> str:
    """The policy as YAML.

    Args:
        name: The graph's name; made into a policy's name.
        nodes: Paths of its nodes, nested graphs included.
        tools: Descriptions by name.
        models: `provider:model` of each model that it holds, best first. They become tiers.
        unpriced: Those of `models` whose price nobody knows: a limit in money would refuse them, so it is left as a comment.
        cycles: Paths of the nodes of each cycle; they set how long a run may last.
    """
    usable = [model for model in models if model.isprintable() and re.fullmatch(r"[a-z0-9_\-]+:\S{1,240}", model)]
    lines = [
        *_tiers(usable, unpriced),
        *_routing(nodes, len(usable)),
        *_TAIL.splitlines(),
        *_bounds(nodes, cycles, priced=bool(usable) and not set(models) & set(unpriced)),
        *_access(tools or {}),
    ]
    return _HEAD.format(name=_name(name, "agent")) + "\n".join(lines) + "\n"


def _tiers(models: Sequence[str], unpriced: Collection[str]) -> Iterator[str]:
    if not models:
        yield "# No model was found in the graph's code. Models that it makes while it runs are governed all the same."
        yield ""
        return
    yield f"{'tiers:':<{_COMMENT_COLUMN}}# models that may answer, best first"
    for position, model in enumerate(models):
        tier = _TIERS[position] if position < len(_TIERS) else f"tier-{position + 1}"
        price = "   # price: {input: ..., output: ...} per million tokens: not known" if model in unpriced else ""
        yield f"  {tier}: {{model: {_quoted(model)}}}{price}"
    yield ""


def _routing(nodes: Sequence[str], tiers: int) -> Iterator[str]:
    if not tiers:
        return
    last = _TIERS[min(tiers, len(_TIERS)) - 1]
    yield "# routing:                                 # without it every node keeps the model that its code uses"
    yield f"#   default: {last}"
    yield "#   rules:"
    named = _quoted(nodes[0]) if nodes else "planner"
    yield f"#     - {{id: planning, when: {{node: [{named}]}}, tier: frontier}}"
    yield from _listed("nodes", nodes)
    yield ""


def _bounds(nodes: Sequence[str], cycles: Sequence[Sequence[str]], *, priced: bool) -> Iterator[str]:
    looping = sum(map(len, cycles))
    steps = _tens(len(nodes) + _TURNS * looping)
    depth = 1 + max((path.count("/") for path in nodes), default=0)
    why = f"{len(nodes)} nodes, {looping} of them in cycles: {_TURNS} rounds each" if looping else f"{len(nodes)} nodes"
    limits = f"limits: {{steps: {steps}, depth: {depth}, time: 15m}}"
    yield f"{limits:<{_COMMENT_COLUMN}}# of one run; {why}"
    yield ""
    yield "budgets:"
    amounts = f"tokens: {steps * _TOKENS_A_CALL // 1000}k, model_calls: {steps}, tool_calls: {2 * steps}"
    money = "usd: 0.50, " if priced else ""
    yield f"  - {{id: run, scope: run, limit: {{{money}{amounts}}}}}"
    if not priced:
        yield "  # No limit in money, because a model has no known price: add `price:` to its tier, then `usd: 0.50` to the limit."
    yield "on_exhausted: finish                       # answer with what there is; `stop` ends the run with an error"
    yield ""


def _access(tools: Mapping[str, str]) -> Iterator[str]:
    yield "tools:"
    yield "  default: deny                            # no tool may be called until a rule allows it"
    if not tools:
        yield "  # No tool was found in the graph's code. A rule looks like this:"
        yield "  # rules:"
        yield '  #   - {id: read-only, tool: ["get_*"], decide: allow}'
        return
    yield "  # Take the `# ` off the next line and off each tool that the agent may use; `decide: ask` lets a person decide."
    yield "  # rules:"
    taken: set[str] = set()
    for position, (tool, description) in enumerate(tools.items()):
        if not 0 < len(_literal(tool)) <= _LONGEST_GLOB or re.search(r"[\ud800-\udfff]", tool):
            continue  # no provider takes such a name, so no model can call it
        rule = _unique(_name(tool, f"tool-{position + 1}"), taken)
        shown = _one_line(description)
        comment = f"  # {shown}" if shown else ""
        yield f"  #   - {{id: {rule}, tool: {_quoted(_literal(tool))}, decide: allow}}{comment}"


def _listed(what: str, items: Sequence[str]) -> Iterator[str]:
    """Comment lines that name the items."""
    line = f"# {what}:"
    for item in (_one_line(each) for each in items):
        if len(line) + len(item) + 1 > _WIDTH:
            yield line
            line = "#  "
        line += f" {item}"
    yield line


def _tens(number: int) -> int:
    """Rounded up to tens, with room: a limit met exactly by a normal run is no limit but a fault."""
    return max(20, -(-(number + number // 5) // 10) * 10)


def _name(text: str, otherwise: str) -> str:
    """A name that policies accept: letters, digits, `_`, `.`, `-`, at most 80 of them. Never a word that YAML reads as something else."""
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "-", text).strip("-_.")[:80]
    return name if re.match(r"[A-Za-z]", name) and name.lower() not in ("true", "false", "null") else otherwise


def _unique(name: str, taken: set[str]) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate)
    return candidate


def _literal(tool: str) -> str:
    """A pattern that matches exactly this name: `*`, `?` and `[` stand for themselves."""
    return re.sub(r"([*?\[])", r"[\1]", tool)


def _quoted(text: str) -> str:
    """Plain where YAML reads it as it stands, else in double quotes with YAML's escapes, which name whole code points."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_.\-/]*", text) and text.lower() not in ("true", "false", "null")
    if plain:
        return text
    escaped = (f"\\{c}" if c in '"\\' else c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(escaped)}"'


def _one_line(text: str) -> str:
    """Text as a comment may hold it: one line, printable, not too long."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= _WIDTH else f"{clean[: _WIDTH - 1]}…"
