"""The way out of a workload: a proxy in the agent, held to the manifest's list.

    request     one HTTP request to the proxy, and the answers; pure
    pace        how many connections a job may begin; pure
    way         how the host is asked to connect: over the channel, or by ourselves
    proxy       serves the connections of one workload

Which destinations there are is the manifest's, which all parties signed and the evidence binds;
so it is this package that a data owner relies on. The host has a list of its own
(`atoll.egress`), for itself.
"""
