"""How well routing ranks steps, keeps its promise, and how long it takes, on recorded outcomes of two models."""
