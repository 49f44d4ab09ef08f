"""One trace to record."""

from dataclasses import dataclass
from typing import Callable

LONG, SHORT = 100, 50
SHORTEST = 30


@dataclass
class Case:
    """`runner(case, trace, dtype)` gives the parameters after every step, a list of
    `{name: array}`, and what some rules have besides them."""

    name: str
    hyper: dict
    source: str
    runner: Callable

    @property
    def rule(self):
        return self.name.split("-")[0]

    @property
    def variant(self):
        """What follows the rule's name, if anything does."""
        return self.name.partition("-")[2]

    @property
    def steps(self):
        # A variant is to show its formula; only the rule's first trace is to show long runs too.
        if self.name.endswith("-cautious"):
            return SHORTEST
        return SHORT if "-" in self.name else LONG

    def run(self, trace, dtype):
        return self.runner(self, trace, dtype)
