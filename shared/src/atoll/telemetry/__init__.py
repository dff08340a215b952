"""Traces that cross processes and leak nothing.

    context     W3C Trace Context in message headers
    names       every span name and attribute key of a job
    span        a finished span, and the small recorder that the agent uses
    tracing     the one interface through which all code makes spans
    allow       what a span may carry out of a process; everything else is dropped
    protobuf    protobuf's wire format, as far as OTLP needs it
    otlp        spans as OTLP `ExportTraceServiceRequest`, both ways
    export      batches from a span source to an async publish function
    otel        the same interface over the OpenTelemetry SDK, for services
    tree        spans as trees, however they came
    waterfall   a trace as a terminal drawing, and as JSON
    forward     OTLP over HTTP to the operator's own collector
    metrics     numbers of a running service, for Prometheus (a package of its own)

Only `otel` imports opentelemetry, and only `metrics` prometheus_client, so an enclave, which must
carry neither, may use everything else. `context`, `names`, `span`, `allow`, `protobuf`, `otlp`,
`tree` and `waterfall` are pure. Nothing here is imported by this file.
"""
