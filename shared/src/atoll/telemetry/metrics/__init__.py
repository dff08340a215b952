"""Numbers of a running service, for an operator's Prometheus.

    metric      what a metric is, and the interface through which all code counts
    table       every metric, once: name, unit, labels, who exports it
    prometheus  the same interface over prometheus_client, and the address where it is scraped
    wiring      a service's metrics from its settings, and those that every service has

`metric` and `table` are pure. Only `prometheus` imports prometheus_client, so that what counts
needs nothing of it. Nothing here is imported by this file.
"""
