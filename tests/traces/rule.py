"""What the files in rules/ say of a rule."""

from collections.abc import Callable
from dataclasses import dataclass, field

# The powers of ten between which the sizes of gradients lie.
USUAL = (-4, 2)
# Of rules whose state is recorded, such that their squares are no larger than the parameters, by
# whose movement errors are measured.
SMALL = (-5, 0)


@dataclass
class Recorded:
    """The state that is recorded after the last step: slots of the tensor's shape, and others."""

    like_params: list = field(default_factory=list)
    others: list = field(default_factory=list)


@dataclass
class Curvature:
    """A second-order input: its name, after how many steps there is a new one, and
    `make(trace, h, t)`, which gives `{name: array}`."""

    name: str
    every: int
    make: Callable


@dataclass
class Rule:
    """A formula and what is to be known of it.

    `update(h, s, t, lr, p, g)` gets the hyperparameters, the state of one tensor (anything not yet set
    is zero), the step count from 1, the learning rate, the parameters and the gradient, and after
    them the curvature of a rule that has one, None where it is the last one. It gives what is to be
    subtracted from the parameters. Maximizing, weight decay and caution are added by formulas.py.
    """

    update: Callable
    # This crate's defaults. Where they are not listed, `maximize` is false and `weight_decay` 0. A
    # rule that can be cautious lists `cautious`.
    defaults: dict
    # Where weight decay acts unless `decoupled_weight_decay` is set: through the "gradient", "beside" the
    # update, "proximal" to it, or it is the update's "own".
    decay: str = "gradient"
    # Whether it moves by the sign of what it computed, which it keeps as `s.before_sign`.
    takes_signs: bool = False
    # The traces that no framework has: what follows the rule's name in theirs, and their `hyper`.
    closed_forms: dict = field(default_factory=dict)
    # `prepare(h, states, t, lr, params, grads)` takes from all tensors together what updates need.
    prepare: Callable | None = None
    curvature: Curvature | None = None
    recorded: Recorded = field(default_factory=Recorded)
    # The inputs of its traces: tensors, sizes, and why some are refused, by `refuses(trace)`.
    shapes: dict = field(default_factory=lambda: {"w": (5, 3), "b": (17,), "k": (2, 3, 2)})
    sizes: tuple = USUAL
    refuses: Callable = lambda trace: None
    # Whether gradients have to lead somewhere, else its steps grow without an end.
    leads_to_a_target: bool = False
    # The same of single traces.
    recorded_of: dict = field(default_factory=dict)
    shapes_of: dict = field(default_factory=dict)
