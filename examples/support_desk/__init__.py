"""A support desk: a planner, a fan-out over orders, and two workers with tools over a SQLite database.

`app.py`, `tools.py` and `database.py` are what a user of LangGraph would write; they know nothing of governor.
`python -m examples.support_desk` answers one queue of tickets four ways and compares the provider's bills.
"""
