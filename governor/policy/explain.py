"""A policy read aloud: one plain sentence for each thing it does, for people who review policies and do not read YAML.

The reading is made from the merged policy, so what comes from `extends` is in it, and each sentence knows its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.policy.explain_after import about_afterwards
from governor.policy.explain_amounts import budget_sentence, names, pace_sentence
from governor.policy.explain_estimator import estimator_sentences
from governor.policy.lint import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.policy.document import Path
    from governor.policy.load import LoadedPolicy
    from governor.policy.schema import Policy, Test, ToolRule, When
    from governor.policy.sections import LadderRung

__all__ = ["Sentence", "as_text", "explain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence about one part of a policy."""

    topic: str
    """The part it belongs to: `policy`, `tools`, `budgets` ..."""
    text: str
    rule: str | None
    """Id of the rule, or None for what has no id."""
    file: str
    line: int
    enforced: bool = True
    """False for what this release accepts and does not act on yet."""


_Spoken = tuple[str, "Path", str | None, str]


def explain(loaded: LoadedPolicy) -> tuple[Sentence, ...]:
    """The policy in plain English, in the order in which a call meets its parts."""
    policy = loaded.policy
    pending = {finding.path for finding in check(loaded) if finding.code == "not-yet-enforced"}
    spoken = [
        *_about_policy(loaded),
        *_about_loops(policy),
        *_about_tools(policy),
        *_about_nodes(policy),
        *_about_models(policy),
        *_about_context(policy),
        *_about_limits(policy),
        *_about_telemetry(policy),
    ]
    return tuple(_sentence(loaded, pending, *each) for each in spoken)


def _sentence(loaded: LoadedPolicy, pending: set[str], topic: str, path: Path, rule: str | None, text: str) -> Sentence:
    file, line, _ = loaded.place_of(path)
    dotted = ".".join(map(str, path))
    enforced = not any(_concerns(each, dotted) for each in pending)
    return Sentence(topic=topic, text=text, rule=rule, file=file, line=line, enforced=enforced)


def _concerns(pending: str, path: str) -> bool:
    """Whether what is pending is what a sentence is about: `ladder` of `ladder.0`, `routing.estimator.kind` of its parent."""
    if pending == path or path.startswith(f"{pending}."):
        return True
    return pending.startswith(f"{path}.") and path not in ("budgets", "tools", "loops", "context", "tiers")


def as_text(sentences: Sequence[Sentence]) -> str:
    """The sentences under their topics, as plain text."""
    lines: list[str] = []
    topic = ""
    for sentence in sentences:
        if sentence.topic != topic:
            topic = sentence.topic
            lines += ["", topic.upper()] if lines else [topic.upper()]
        rule = f" [{sentence.rule}]" if sentence.rule else ""
        pending = "" if sentence.enforced else " (accepted, not yet enforced)"
        lines.append(f"  - {sentence.text}{rule}{pending}")
    return "\n".join(lines)


def _about_policy(loaded: LoadedPolicy) -> Iterator[_Spoken]:
    policy = loaded.policy
    owner = f", owned by {policy.owner}" if policy.owner else ""
    yield "policy", ("name",), None, f"This is `{policy.name}`{owner}; its fingerprint is {loaded.hash}."
    if len(loaded.layers) > 1:
        parents = ", ".join(f"`{layer.policy.name}`" for layer in loaded.layers[1:])
        yield "policy", ("extends",), None, f"It tightens {parents} and can loosen nothing in it."
    acts = "It is enforced: what it refuses does not happen."
    if policy.mode == "observe":
        acts = "It only observes: every call goes through, and what would have been refused is recorded."
    yield "policy", ("mode",), None, acts
    passing = "is refused" if policy.mediation == "strict" else "is let through and reported"
    yield "policy", ("mediation",), None, f"A model call that passes by governor {passing}."
    if "broken_streams" in policy.model_fields_set:
        costs = "what had arrived" if policy.broken_streams == "observed" else "all that it could have become"
        yield "policy", ("broken_streams",), None, f"A stream that its reader leaves is charged at {costs}."
    if "on_store_loss" in policy.model_fields_set:
        goes = "the run is stopped" if policy.on_store_loss == "refuse" else "calls go on unmetered, each with an alarm"
        yield "policy", ("on_store_loss",), None, f"When the store does not answer, {goes}."
    if "on_policy_change" in policy.model_fields_set:
        goes_on = {
            "adopt": "under the new one, which judges its pending tool calls again",
            "pin": "under the one that it began under",
            "ask": "only when a person says so",
        }
        text = f"A run that is resumed after the policy changed goes on {goes_on[policy.on_policy_change]}."
        yield "policy", ("on_policy_change",), None, text


def _about_loops(policy: Policy) -> Iterator[_Spoken]:
    loops = policy.loops
    what = {
        "observe": "record it",
        "nudge": "tell the model",
        "block": "refuse the repeated call",
        "compact": "leave what was repeated out of the prompt",
        "escalate": "ask a better model",
        "stop": "end the run",
        "kill": "end the run for every process until somebody resumes it",
    }
    steps = ", then ".join(what[word] for word in loops.respond)
    only = " (recorded only)" if policy.mode_of(loops.mode) == "observe" else ""
    yield "loops", ("loops", "respond"), None, f"When a run repeats itself without result: {steps}{only}."
    kinds = {
        "poll": "may be asked again while it waits",
        "paging": "may be called page after page",
        "batch": "may be called many times alike",
        "strict": "is watched more closely than other tools",
        "off": "is never taken for a loop",
    }
    for index, tool in enumerate(loops.tools):
        waits = f", every {tool.every.written}" if tool.every else ""
        waits += f", for at most {tool.for_at_most.written}" if tool.for_at_most else ""
        yield "loops", ("loops", "tools", index), None, f"{_begun(names('tool', tool.tool))} {kinds[tool.as_]}{waits}."
    if loops.progress:
        yield "loops", ("loops", "progress"), None, f"A rising `{loops.progress}` counts as progress."


def _about_tools(policy: Policy) -> Iterator[_Spoken]:
    words = {"deny": "refused", "allow": "allowed"}
    yield "tools", ("tools", "default"), None, f"A tool call that no rule names is {words[policy.tools.default]}."
    for index, rule in enumerate(policy.tools.rules):
        yield "tools", ("tools", "rules", index), rule.id, _tool_rule(rule, policy)
    if len(policy.tools.rules) > 1:
        order = "If several rules match, refusing wins over asking, asking over advising, advising over allowing."
        yield "tools", ("tools",), None, order
    for index, exception in enumerate(policy.exceptions):
        text = f"{exception.owner} may break {', '.join(exception.rules)} until {exception.expires}: {exception.reason}"
        yield "tools", ("exceptions", index), exception.id, text


def _about_nodes(policy: Policy) -> Iterator[_Spoken]:
    nodes = policy.nodes
    if nodes.default == "deny":
        yield "nodes", ("nodes", "default"), None, "A node that no rule names does not run: the run ends there."
    for index, rule in enumerate(nodes.rules):
        verb = "may run" if rule.decide == "allow" else "does not run: the run ends there"
        only = " (recorded only)" if policy.mode_of(rule.mode) == "observe" else ""
        text = f"{_begun(names('node', rule.node))} {verb}{only}."
        yield "nodes", ("nodes", "rules", index), rule.id, text


def _tool_rule(rule: ToolRule, policy: Policy) -> str:
    verbs = {
        "allow": "is allowed",
        "ask": "needs a person's approval",
        "nudge": "is not made; the model is advised instead",
        "deny": "is refused",
    }
    node = f" from {names('node', rule.node)}" if rule.node else ""
    when = f" when {_condition(rule.when)}" if rule.when else ""
    ends = f"; no answer within {rule.expires.written} means no" if rule.expires else ""
    tells = f'. The model is told: "{rule.tell}"' if rule.tell else ""
    only = " (recorded only)" if policy.mode_of(rule.mode) == "observe" else ""
    return f"A call of {names('tool', rule.tool)}{node}{when} {verbs[rule.decide]}{ends}{only}{tells or '.'}"


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _condition(when: When) -> str:
    if when.cel is not None:
        return f"the expression `{when.cel}` holds"
    parts = [f"`{path}` {_test(test)}" for path, test in when.facts.items()]
    if when.after is not None:
        within = f" within {when.after.within.written}" if when.after.within else ""
        parts.append(f"{names('tool', when.after.tool)} was called before{within}")
    return " and ".join(parts)


def _test(test: Test) -> str:
    said: dict[str, str] = {
        "equals": "is {}",
        "one_of": "is one of {}",
        "glob": "looks like {}",
        "matches": "contains text like {}",
        "at_most": "is at most {}",
        "at_least": "is at least {}",
        "above": "is above {}",
        "below": "is below {}",
        "contains": "contains {}",
    }
    if test.exists is not None and len(test.model_fields_set) == 1:
        return "is given" if test.exists else "is not given"
    values = {name: getattr(test, name) for name in said}
    return " and ".join(said[name].format(_shown(value)) for name, value in values.items() if value is not None)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value)  # pyright: ignore[reportUnknownVariableType] - texts and numbers
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"`{getattr(value, 'text', value)}`"


def _about_models(policy: Policy) -> Iterator[_Spoken]:
    for name, tier in policy.tiers.items():
        most = f", with answers of at most {tier.max_output_tokens.written} tokens" if tier.max_output_tokens else ""
        several = len(tier.serves) > 1
        behind = f", where {' or '.join(tier.serves)} answers" if tier.serves else ""
        held = ": held at the dearest, charged as the one that did" if several else ""
        yield "models", ("tiers", name), None, f"`{name}` is {tier.model}{behind}{held}{most}."
    routing = policy.routing
    if not policy.tiers:
        yield "models", ("tiers",), None, "The graph's own models are used; their spending is metered."
    for index, rule in enumerate(routing.rules):
        lock = ", and nothing may change that" if rule.lock else ""
        text = f"{_begun(names('node', rule.when.node))} is answered by `{rule.tier}`{lock}."
        yield "models", ("routing", "rules", index), rule.id, text
    if routing.default is not None:
        yield "models", ("routing", "default"), None, f"Every other step is answered by `{routing.default}`."
    if routing.estimator.kind != "off":
        for text in estimator_sentences(routing):
            yield "models", ("routing", "estimator"), None, text
    yield from _about_outcomes(policy)
    if routing.escalate is not None:
        after, often = " or ".join(routing.escalate.after), routing.escalate.at_most
        text = f"After {after} a better model takes over for {int(routing.escalate.for_)} steps, at most {int(often)} times a run."
        yield "models", ("routing", "escalate"), None, text
    yield from about_afterwards(policy)
    for index, rate in enumerate(policy.rates):
        yield "models", ("rates", index), rate.id, pace_sentence(rate)


def _about_outcomes(policy: Policy) -> Iterator[_Spoken]:
    routing = policy.routing
    if routing.outcomes is not None:
        text = {
            "none": "without text",
            "redacted": "with their newest message, personal data removed",
            "full": "with their newest message",
        }
        kept = f"Routed steps and what came of them are kept in `{routing.outcomes}`, {text[policy.trace.content]}."
        yield "models", ("routing", "outcomes"), None, kept
    quality = routing.quality
    if quality is not None and quality.shadow is not None:
        most = "" if quality.shadow_per_day is None else f", for at most {quality.shadow_per_day.written} a day"
        told = f"Another tier answers {quality.shadow.written} of the calls too, unseen{most}."
        yield "models", ("routing", "quality", "shadow"), None, told


_SHORTENED = {
    "ledger": "Old history is shortened (ledger)",
    "mask": "Old results of tools are left out (mask)",
    "summarise": "Old history is summarised (summarise) by the model that answers or a cheaper tier, which reads it and is paid for that",
}


def _about_context(policy: Policy) -> Iterator[_Spoken]:
    context = policy.context
    if context.cache.ttl != "off":
        yield "context", ("context", "cache"), None, f"Prompts are cached at the provider for {context.cache.ttl}."
        if context.cache.stagger is not None:
            text = f"Calls that begin together with one long prefix wait up to {context.cache.stagger.written} for the first to write it."
            yield "context", ("context", "cache", "stagger"), None, text
    if context.compact.strategy != "off":
        kept = context.compact.keep_tail.written
        text = f"{_SHORTENED[context.compact.strategy]}; the latest {kept} tokens stay word for word."
        yield "context", ("context", "compact"), None, text
    if context.tool_results.cap is not None:
        rest = (
            "the model can read the rest on demand" if context.tool_results.recall else "the rest is lost to the model"
        )
        text = f"Tool results above {context.tool_results.cap.written} tokens are cut; {rest}."
        yield "context", ("context", "tool_results"), None, text
    if context.max_input_tokens is not None:
        text = f"No prompt is longer than {context.max_input_tokens.written} tokens."
        yield "context", ("context", "max_input_tokens"), None, text


def _about_limits(policy: Policy) -> Iterator[_Spoken]:
    said = {
        "steps": "A run takes at most {} steps.",
        "depth": "Graphs are nested at most {} deep.",
        "fan_out": "At most {} branches run at once.",
        "time": "A run lasts at most {}.",
    }
    for name, text in said.items():
        amount = getattr(policy.limits, name)
        if amount is not None:
            yield "limits", ("limits", name), None, text.format(amount.written)
    for index, budget in enumerate(policy.budgets):
        yield "budgets", ("budgets", index), budget.id, budget_sentence(budget, policy)
    if policy.budgets:
        ends = {
            "finish": "the run answers with what it has",
            "stop": "the run ends at once",
            "ask": "a person is asked for more",
        }
        text = f"When a hard budget is spent, {ends[policy.on_exhausted]}."
        yield "budgets", ("on_exhausted",), None, text
    for index, rung in enumerate(policy.ladder):
        text = f"From {rung.at.written} of the tightest hard budget on, {_rung(rung)}."
        yield "budgets", ("ladder", index), None, text


def _rung(rung: LadderRung) -> str:
    if isinstance(rung.do, str):
        return {
            "compact": "old history is cut harder and without waiting until that pays",
            "lower_tier": "the next cheaper tier answers, where no rule locks the tier",
            "last_call": "a run makes one last model call, without tools, for which a part of each limit is kept",
        }[rung.do]
    limits = (
        ("max_output_tokens", "answers have at most {} tokens"),
        ("fan_out", "a run makes at most {} model calls at once"),
    )
    said = [text.format(amount.written) for name, text in limits if (amount := getattr(rung.do, name)) is not None]
    return " and ".join(said) or "nothing changes"


def _about_telemetry(policy: Policy) -> Iterator[_Spoken]:
    shows = {
        "none": "Telemetry shows facts and hashes, never text of prompts, arguments or results.",
        "redacted": "Telemetry shows text with personal data removed.",
        "full": "Telemetry shows the full text of prompts, arguments and results.",
    }
    yield "telemetry", ("trace", "content"), None, shows[policy.trace.content]
    if policy.trace.redact:
        yield "telemetry", ("trace", "redact"), None, f"Removed from text: {', '.join(policy.trace.redact)}."
