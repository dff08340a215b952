"""TPM 2.0 quotes, and Azure's confidential VMs, which bind a virtual TPM to the hardware.

quote        TPMS_ATTEST and its signature                 parse, `verify_tpm_quote`
pcrs         register values and the digest that a quote has of them
hcl          the HCL report: hardware report + runtime data parse, binding
td_report    the TDREPORT inside it                        parse
azure        all of it together                            `verify_azure_*`
judge        verdict on one published vector
"""
