"""Event logs that explain the run-time registers of a TD, and prove nothing by themselves.

    registers    RTMR0 to RTMR3, and how one is extended
    ccel         the firmware's log in TCG's crypto-agile form (CCEL table)
    rtmr_json    the JSON log of a guest agent, with named run-time events
    judge        verdict on one published vector

Only a quote makes register values authentic. Digests in a log are believed when they replay
to those; what else an event says, only when its digest is recomputed from it.
"""
