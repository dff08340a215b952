"""The way out of an enclave, on the side of its host.

    addresses   which addresses are inside, and are nobody's to call from here; pure
    words       what an enclave asks on the stream `egress` of its channel, and the answer; pure
    outward     resolves, judges and connects, by the host's list (`atoll.wire.egress`)

The enclave holds its workload to the manifest's list by itself; what is here is the host's own
policy, and its protection from what strangers let run on it.
"""
