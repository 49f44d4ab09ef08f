"""Traces of what no framework has: of the formulas, in numpy alone. The rules list them."""

import formulas
from case import Case

SOURCE = "closed form in numpy (formulas.py)"

CLOSED_FORMS = [
    Case(f"{name}-{variant}" if variant else name, hyper, SOURCE, formulas.run)
    for name, rule in formulas.RULES.items()
    for variant, hyper in rule.closed_forms.items()
]
