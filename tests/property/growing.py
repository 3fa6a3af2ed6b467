"""A HugeCTR graph while it is drawn: which tensors there are, and what follows from them.

A tensor is known by its rows for each sample and its further dimensions, so that only layers are added whose rules are
met (layers 1.1, 1.3 and 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

WIDEST = 64


@dataclass(frozen=True)
class Tensor:
    name: str
    rows: Fraction
    dims: tuple[int, ...]

    @property
    def width(self) -> int:
        return self.dims[-1]


Shape = tuple[Fraction, tuple[int, ...]]
Fits = Callable[[Tensor], bool]


def flat(tensor: Tensor) -> bool:
    return len(tensor.dims) == 1


def slotted(tensor: Tensor) -> bool:
    return len(tensor.dims) == 2


def with_heads(tensor: Tensor) -> bool:
    return len(tensor.dims) == 3


def divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


@dataclass
class Growing:
    """A graph as far as it has been drawn."""

    draw: Callable[[Any], Any]
    layers: list[dict[str, Any]] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    layer_attrs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What graph_to_json would lose, by top."""

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def some_of(self, *choices: Any) -> list[Any]:
        return self.draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3, unique=True))

    def chance(self) -> bool:
        return self.draw(st.booleans())

    def pick(self, fits: Fits = lambda tensor: not with_heads(tensor)) -> Tensor | None:
        """A tensor, every other time the newest: rules match chains."""
        fitting = [tensor for tensor in reversed(self.tensors) if fits(tensor)]
        return self.draw(st.just(fitting[0]) | st.sampled_from(fitting)) if fitting else None

    def add(
        self,
        type: str,
        bottoms: Sequence[Tensor],
        *shapes: Shape,
        tops: Sequence[str] | None = None,
        attrs: dict[str, Any] | None = None,
        **params: Any,
    ) -> list[Tensor]:
        """A layer whose tops have these (rows, dims)."""
        names = list(tops or [f"{type.lower()}{len(self.layers)}_{i}" for i in range(len(shapes))])
        made = [Tensor(name, *shape) for name, shape in zip(names, shapes, strict=True)]
        bottom = [tensor.name for tensor in bottoms]
        clause = {
            "type": type,
            "bottom": bottom[0] if len(bottom) == 1 else bottom,
            "top": names[0] if len(names) == 1 else names,
        }
        self.layers.append(clause | params)
        self.tensors += made
        if attrs:
            self.layer_attrs[names[0]] = attrs
        return made

    # What motifs are made of

    def same(self, type: str, *bottoms: Tensor, **params: Any) -> Tensor:
        """A layer whose top has the shape of its bottoms."""
        (top,) = self.add(type, bottoms, (bottoms[0].rows, bottoms[0].dims), **params)
        return top

    def fc(self, x: Tensor, outputs: int) -> Tensor:
        (top,) = self.add("InnerProduct", [x], (x.rows, (*x.dims[:-1], outputs)), fc_param={"num_output": outputs})
        return top

    def product(self, x: Tensor, outputs: int) -> Tensor:
        """A fully connected layer without bias: only those of MLP go without."""
        params = {"num_outputs": [outputs], "activation": "None", "use_bias": False}
        (top,) = self.add("MLP", [x], (x.rows, (outputs,)), mlp_param=params)
        return top

    def linear(self, x: Tensor, outputs: int) -> Tensor:
        """With or without bias."""
        return self.product(x, outputs) if flat(x) and self.chance() else self.fc(x, outputs)

    def reshape(self, x: Tensor, rows: Fraction, *dims: int) -> Tensor:
        time_step = dims[0] if len(dims) == 2 else 0
        (top,) = self.add("Reshape", [x], (rows, dims), leading_dim=dims[-1], time_step=time_step)
        return top

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Matrices side by side."""
        (top,) = self.add("Concat", tensors, (tensors[0].rows, (sum(t.width for t in tensors),)))
        return top

    def cut(self, x: Tensor, *ranges: tuple[int, int]) -> list[Tensor]:
        shapes = [(x.rows, (*x.dims[:-1], end - start)) for start, end in ranges]
        return self.add("Slice", [x], *shapes, ranges=[list(each) for each in ranges])

    def repeat(self, x: Tensor, axis: int, factor: int) -> Tensor:
        """HugeCTR's Scale."""
        shape = (x.rows, (x.width * factor,)) if axis == 0 else (x.rows * factor, x.dims)
        (top,) = self.add("Scale", [x], shape, scale_param={"axis": axis, "factor": float(factor)})
        return top

    def reduce(self, x: Tensor, axis: int, type: str = "ReduceSum") -> Tensor:
        dims = tuple(1 if place == axis else dim for place, dim in enumerate(x.dims, start=1))
        (top,) = self.add(type, [x], (x.rows, dims), axis=axis)
        return top

    def matrix(self) -> Tensor:
        """One row a sample; the dense features always are."""
        found = self.pick(lambda tensor: flat(tensor) and tensor.rows == 1)
        assert found is not None
        return found

    def slots(self, count: int, width: int) -> Tensor:
        """[N, count, width] made of a matrix."""
        return self.reshape(self.fc(self.matrix(), count * width), Fraction(1), count, width)

    def shuffled(self, *tensors: Tensor) -> list[Tensor]:
        return self.draw(st.permutations(tensors))
