"""Events pushed to whoever registered an address for them.

    address     which addresses may be called at all
    signing     secrets and signatures (Standard Webhooks), secrets sealed for storage
    retrying    when to try again, and when no longer
    sender      one POST to one checked address
    registry    the registrations, in bucket `webhooks`
    api         add, list, show, remove, test
    dispatcher  from events to deliveries
    worker      from deliveries to POSTs
    wired       all of it joined

Any number of gateways do this together: deliveries are a work queue.
"""
