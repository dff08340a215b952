"""Everything two Atoll processes agree on, and nothing they do not.

    names      what a name may look like
    schema     frozen dataclasses checked on arrival; JSON Schema made from them
    codec      MessagePack with limits
    subjects   every subject, written once
    topology   every stream, consumer and bucket
    messages   every message
    endpoints  every request: subject, request, reply, owner, callers

Pure: imports nothing that does input or output.
"""
