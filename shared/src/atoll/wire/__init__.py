"""Everything two Atoll processes agree on, and nothing they do not.

    names        what a name may look like
    schema       frozen dataclasses checked on arrival; JSON Schema made from them
    codec        MessagePack with limits
    media        MessagePack or JSON, as the content type says
    subjects     every subject, written once
    topology     every stream, consumer and bucket
    messages     every message; those of a field of their own: verification, submission
    cloudevents  events as CloudEvents 1.0
    endpoints    every request: subject, request, reply, owner, callers
    asyncapi     all of that as a document for others

Pure: imports nothing that does input or output.
"""
