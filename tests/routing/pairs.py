"""Made-up outcomes for the tests of routing."""

from __future__ import annotations

import random

from governor.routing.estimate import StepFeatures
from governor.routing.records import PairedOutcome, Side

HARD = ("prove", "integral", "theorem", "derive")
EASY = ("hello", "weather", "colour", "name")
PLAIN = ("please", "the", "a", "for", "me", "now", "and", "then")


def outcome(
    name: str,
    *,
    node: str = "planner",
    delta: str = "",
    strong: float = 1.0,
    weak: float = 1.0,
    after: str = "",
    at_ms: int = 0,
    run: str = "",
    answer: str = "",
) -> PairedOutcome:
    """One record; both tiers right unless said otherwise."""
    return PairedOutcome(
        id=name,
        step=StepFeatures(node=node, path=node, delta=delta, outcome=after),
        strong=Side(tier="frontier", score=strong, cost=5_000),
        weak=Side(tier="student", score=weak, cost=100, answer=answer),
        source="replay",
        at_ms=at_ms,
        run=run,
    )


def outcomes(count: int, seed: int = 0) -> list[PairedOutcome]:
    """Records in which the cheaper tier mostly fails at hard words, at one of two nodes more often than at the other."""
    draw, found = random.Random(seed), list[PairedOutcome]()
    for number in range(count):
        node, hard = draw.choice(("planner", "writer")), draw.random() < 0.4
        words = draw.choices(PLAIN, k=6) + draw.choices(HARD if hard else EASY, k=2)
        fails = draw.random() < (0.6 if hard else 0.02) * (1.0 if node == "planner" else 0.5)
        strong = float(draw.random() < 0.95)
        found.append(
            outcome(f"{seed}/{number}", node=node, delta=" ".join(words), strong=strong, weak=float(not fails))
        )
    return found
