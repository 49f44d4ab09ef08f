from rule import Recorded, Rule


def asgd(h, s, t, lr, p, g):
    # Both follow from the step before, so that a changed learning rate acts one step late.
    eta = lr if t == 1 else s.lr / (1 + h.lambd * s.lr * (t - 1)) ** h.alpha
    mu = 1 / max(1, t - 1 - h.t0)
    s.lr = lr
    change = h.lambd * eta * p + eta * g
    s.ax = s.ax + mu * (p - change - s.ax)
    return change


RULE = Rule(
    asgd,
    {"lr": 1e-2, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6},
    recorded=Recorded(like_params=["ax"]),
)
