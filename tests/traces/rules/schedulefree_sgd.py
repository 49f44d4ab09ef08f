from maths import SCHEDULE_FREE, schedulefree
from rule import Rule


def schedulefree_sgd(h, s, t, lr, y, g):
    return schedulefree(h, s, t, lr, y, g, h.momentum)


RULE = Rule(schedulefree_sgd, SCHEDULE_FREE | {"lr": 1.0, "momentum": 0.9}, decay="own")
