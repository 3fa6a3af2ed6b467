"""Rules and the worklist that applies them.

A rule is a pattern and a function that builds the replacement, or declines with None:

    @rule(X @ W + B)
    def fuse_bias(x, w, b):
        \"\"\"x @ w + b  ->  linear(x, w, b)\"\"\"
        return Linear()(x, w, b) if ... else None

Parameters are the names that the pattern binds; `root` is the whole matched value. Decide first, build last: what a rule
built before it declined is erased again.
"""

from __future__ import annotations

import inspect
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hugectr2onnx.errors import PassError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.op import Op
from hugectr2onnx.passes.pattern import Bindings, P

Fires = Counter[str]
"""How often each rule fired; the sum is the number of changes."""
ROOT = "root"
"""The parameter that gets the whole matched value."""


@dataclass(frozen=True)
class Rule:
    """A pattern and what to put in its place."""

    pattern: P
    rewrite: Callable[..., Value | None]
    name: str
    parameters: tuple[str, ...]

    def matches(self, root: Value) -> Iterator[Bindings]:
        """Return every way in which the pattern matches."""
        return self.pattern.match(root, {ROOT: root}, root=True)

    def replacement(self, bound: Bindings) -> Value | None:
        """Return what replaces a match, or None if the rule declines."""
        return self.rewrite(**{name: bound[name] for name in self.parameters})


def rule(pattern: P) -> Callable[[Callable[..., Value | None]], Rule]:
    """Make a rule of a function; raises PassError if a parameter of it is a name that the pattern does not bind."""

    def wrap(function: Callable[..., Value | None]) -> Rule:
        parameters = tuple(inspect.signature(function).parameters)
        _check_names(function.__name__, parameters, pattern)
        return Rule(pattern, function, function.__name__, parameters)

    return wrap


def _check_names(name: str, parameters: Sequence[str], pattern: P) -> None:
    if ROOT in pattern.names:
        raise PassError(
            f"rule {name}: the pattern binds {ROOT!r}, which stands for the whole match; choose another name"
        )
    bound = {*pattern.names, ROOT}
    unbound = [parameter for parameter in parameters if parameter not in bound]
    if unbound:
        raise PassError(
            f"rule {name}: the pattern binds no {', '.join(map(repr, unbound))}; parameters can be "
            f"{', '.join(sorted(bound))}"
        )


def apply(graph: Graph, rules: Sequence[Rule]) -> Fires:
    """Apply rules until none fires; raises PassError if they chase one another or change a type."""
    return _Worklist(graph, rules).run()


class _Worklist:
    """Every node once, then again whatever a rewrite touched."""

    def __init__(self, graph: Graph, rules: Sequence[Rule]):
        self.graph = graph
        self.all_rules = rules
        self.rules: dict[type[Op], list[Rule]] = {}
        self.depth = max((each.pattern.depth for each in rules), default=1)
        self.fires: Fires = Counter()
        nodes = list(graph)
        wanted = {kind for kind, node in {type(node.op): node for node in nodes}.items() if self._rules_for(node)}
        self.queue: deque[Node] = deque(node for node in nodes if type(node.op) in wanted)
        self.queued = set(self.queue)
        self.budget = 1000 + 20 * len(graph)

    def run(self) -> Fires:
        while self.queue:
            node = self.queue.popleft()
            self.queued.discard(node)
            if node in self.graph:
                self._visit(node)
        return self.fires

    def _rules_for(self, node: Node) -> list[Rule]:
        """Return the rules whose root is the node's op or a class above it."""
        kind = type(node.op)
        if kind not in self.rules:
            self.rules[kind] = [each for each in self.all_rules if issubclass(kind, each.pattern.root_type)]
        return self.rules[kind]

    def _visit(self, node: Node) -> None:
        for each in self._rules_for(node):
            for value in node.results:
                if self._try(each, value):
                    return

    def _try(self, each: Rule, old: Value) -> bool:
        if self.graph.fires_left == 0:
            return False
        for bound in each.matches(old):
            with self.graph.building(*old.node.sources) as added:
                new = each.replacement(bound)
            if new is not None:
                self._put(each, old, new, added)
                return True
            for node in reversed(added):
                self.graph.erase(node)
        return False

    def _put(self, each: Rule, old: Value, new: Value, added: list[Node]) -> None:
        self._count(each, old, new)
        users = [use.node for use in old.uses]
        self.graph.replace(old, new)
        erased, survivors = self.graph.erase_dead(old.node)
        inherit_sources(added, erased)
        for node in reversed(added):
            if node in self.graph and not self.graph.is_used(node):
                self.graph.erase(node)
        for node in (*added, *users, *survivors):
            self._push_up(node, self.depth)

    def _count(self, fired: Rule, old: Value, new: Value) -> None:
        if new.type != old.type:
            raise PassError(f"rule {fired.name} turned {old!r} into {new!r}: the type changed")
        self.fires[fired.name] += 1
        if self.graph.fires_left is not None:
            self.graph.fires_left -= 1
        if self.fires.total() > self.budget:
            busiest = ", ".join(name for name, _ in self.fires.most_common(3))
            raise PassError(f"rules rewrite without end: {busiest}")

    def _push_up(self, node: Node, levels: int) -> None:
        """Queue a node and the users that reach it within a pattern's depth; widely shared values are left to the next run."""
        if node not in self.queued and self._rules_for(node):
            self.queue.append(node)
            self.queued.add(node)
        if levels > 1 and node in self.graph:
            for user in self.graph.users(node, limit=8):
                self._push_up(user, levels - 1)


def inherit_sources(added: Sequence[Node], erased: Sequence[Node]) -> None:
    """Give new nodes the source layers of all nodes that they replace, operands first."""
    sources = tuple(dict.fromkeys(source for node in reversed(erased) for source in node.sources))
    for node in added:
        node.sources = sources or node.sources
