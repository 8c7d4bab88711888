"""Batches as Prometheus' text exposition format 0.0.4, families together, with HELP and TYPE.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from adamas.lines import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from adamas.metric import Batch
    from adamas.naming import Naming, Point

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def escape_label(value: str) -> str:
    """A label value between quotes."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def number(value: float) -> str:
    """A value as the format writes it."""
    return repr(value) if type(value) is float else str(int(value))


def head(point: Point) -> str:
    """`name{label="value"}` of a point."""
    if not point.labels:
        return point.name
    inside = ",".join(f'{name}="{escape_label(value)}"' for name, value in point.labels)
    return f"{point.name}{{{inside}}}"


class _ShapePlan:
    """A shape's points, their sample heads, and which family each belongs to."""

    __slots__ = ("families", "heads", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.heads = [head(p) + " " for p in plan.points]
        self.families: dict[str, list[int]] = {}
        for position, point in enumerate(plan.points):
            self.families.setdefault(point.name, []).append(position)


class Exposition:
    """The page of all the latest values, in one naming; it keeps its plans on the shapes."""

    def __init__(self, naming: Naming) -> None:
        self.naming = naming

    def render(self, batches: Iterable[Batch]) -> str:
        """The whole page: each family once, its samples in the order of the batches."""
        families: dict[str, list[str]] = {}
        for batch in batches:
            plan = batch.shape.plans.get(self)
            if plan is None:
                plan = batch.shape.plans[self] = _ShapePlan(Plan(batch.shape, self.naming.spell))
            values = plan.plan.row(batch)
            for name, positions in plan.families.items():
                lines = families.get(name)
                if lines is None:
                    point = plan.plan.points[positions[0]]
                    lines = families[name] = []
                    if point.help:
                        help = point.help.replace("\\", "\\\\").replace("\n", "\\n")
                        lines.append(f"# HELP {name} {help}\n")
                    lines.append(f"# TYPE {name} {point.kind}\n")
                lines += [f"{plan.heads[i]}{number(values[i])}\n" for i in positions]
        return "".join(["".join(lines) for lines in families.values()])
