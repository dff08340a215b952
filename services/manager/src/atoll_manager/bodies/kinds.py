"""Which body an order names."""

from atoll_manager.bodies.body import Body, Order, refused


def make(order: Order) -> Body:
    """The body that an order names; only its own modules are loaded."""
    match order.body.get("kind"):
        case "process":
            from atoll_manager.bodies.process import ProcessBody  # noqa: PLC0415

            return ProcessBody(order)
        case "container":
            from atoll_manager.bodies.container import ContainerBody  # noqa: PLC0415

            return ContainerBody(order)
        case "domain":
            from atoll_manager.bodies.domain import DomainBody  # noqa: PLC0415

            return DomainBody(order)
        case kind:
            raise refused(f"a keeper of this release knows no body {kind!r}")
