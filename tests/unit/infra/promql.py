"""What a PromQL expression reads and yields, from the tree that a real parser makes of it."""

import re
from collections.abc import Iterator
from typing import Any, Final

import promql_parser as promql

from atoll.telemetry.metrics import table

SCRAPED: Final = frozenset({"job", "instance", "service"})
"""Labels that Prometheus's configuration adds."""
EXACT: Final = (promql.MatchOp.Equal, promql.MatchOp.NotEqual)
_GRAFANA: Final = re.compile(r"\$__rate_interval|\$__interval|\$__range")


def parse(text: str) -> promql.Expr:
    """Raises: ValueError: it is no PromQL."""
    return promql.parse(_GRAFANA.sub("5m", text))


def selectors(expr: Any) -> Iterator[promql.VectorSelector]:
    """Every series that it reads."""
    match expr:
        case promql.VectorSelector():
            yield expr
        case promql.MatrixSelector():
            yield expr.vector_selector
        case promql.AggregateExpr() | promql.SubqueryExpr() | promql.ParenExpr():
            yield from selectors(expr.expr)
        case promql.UnaryExpr():
            yield from selectors(expr.expr)
        case promql.BinaryExpr():
            yield from selectors(expr.lhs)
            yield from selectors(expr.rhs)
        case promql.Call():
            for each in expr.args:
                yield from selectors(each)
        case promql.NumberLiteral() | promql.StringLiteral():
            return
        case _:
            raise AssertionError(f"not looked into: {type(expr)}")


def groupings(expr: Any) -> Iterator[tuple[frozenset[str], Any]]:
    """The labels of every `by` and `without`, with what is aggregated."""
    match expr:
        case promql.AggregateExpr():
            if expr.modifier is not None:
                yield frozenset(expr.modifier.labels), expr.expr
            yield from groupings(expr.expr)
        case promql.SubqueryExpr() | promql.ParenExpr() | promql.UnaryExpr():
            yield from groupings(expr.expr)
        case promql.BinaryExpr():
            yield from groupings(expr.lhs)
            yield from groupings(expr.rhs)
        case promql.Call():
            for each in expr.args:
                yield from groupings(each)
        case _:
            return


def yielded(expr: Any) -> frozenset[str]:
    """The labels that its result may have."""
    match expr:
        case promql.VectorSelector():
            return labels_of(expr)
        case promql.MatrixSelector():
            return labels_of(expr.vector_selector)
        case promql.AggregateExpr():
            if expr.modifier is None:
                return frozenset()
            return frozenset(expr.modifier.labels) & yielded(expr.expr)
        case promql.SubqueryExpr() | promql.ParenExpr() | promql.UnaryExpr():
            return yielded(expr.expr)
        case promql.BinaryExpr():
            return yielded(expr.lhs) | yielded(expr.rhs)
        case promql.Call():
            found = frozenset().union(*map(yielded, expr.args))
            return found - {"le"} if expr.func.name == "histogram_quantile" else found
        case _:
            return frozenset()


def labels_of(selector: promql.VectorSelector) -> frozenset[str]:
    """Raises: KeyError: nobody exports it."""
    return SCRAPED.union(KNOWN[str(selector.name)])


def mistakes(text: str) -> list[str]:
    """What of an expression nobody exports, or exports otherwise."""
    found = []
    expr = parse(text)
    for selector in selectors(expr):
        if selector.name not in KNOWN:
            found.append(f"{selector.name}: no such metric")
            continue
        labels = KNOWN[selector.name]
        for matcher in selector.matchers.matchers:
            if matcher.name in SCRAPED:
                continue
            if matcher.name not in labels:
                found.append(f"{selector.name}: no label {matcher.name}")
                continue
            values = labels[matcher.name]
            # Neither the enumeration of the parser can be hashed, nor is a pattern here nested.
            exact = any(matcher.op == op for op in EXACT)
            asked = [matcher.value] if exact else matcher.value.split("|")
            found += [
                f"{selector.name}: {matcher.name} is never {each}"
                for each in asked
                if values and not any(re.fullmatch(each, value) for value in values)
            ]
    if not found:
        found += [
            f"grouped by {', '.join(sorted(by - yielded(inner)))}, which it has not"
            for by, inner in groupings(expr)
            if by - yielded(inner)
        ]
    return found


def _known() -> dict[str, dict[str, tuple[str, ...]]]:
    known: dict[str, dict[str, tuple[str, ...]]] = {"up": {}}
    known |= {name: {} for name in table.STANDARD}
    for metric in table.METRICS:
        labels = {label.name: label.values for label in metric.labels}
        for series in metric.series:
            more: dict[str, tuple[str, ...]] = {"le": ()} if series.endswith("_bucket") else {}
            known[series] = labels | more
    return known


KNOWN: Final = _known()
"""By series: its labels, with their values where those are a closed set."""
