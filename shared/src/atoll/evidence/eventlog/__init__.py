"""Event logs that explain the registers of a TD or a TPM, and prove nothing by themselves.

    registers    RTMR0 to RTMR3, and how one is extended
    tcg          TCG's crypto-agile form, in which firmware writes
    ccel         such a log of a TD (CCEL table)
    pcr_log      such a log of a TPM
    rtmr_json    the JSON log of a guest agent, with named run-time events
    judge        verdict on one published vector

Only a quote makes register values authentic. Digests in a log are believed when they replay
to those; what else an event says, only when its digest is recomputed from it.
"""
