from maths import ADAM
from rule import Rule
from rules.adam import adam

RULE = Rule(adam, ADAM | {"lr": 1e-3, "weight_decay": 1e-2, "cautious": False}, decay="beside")
