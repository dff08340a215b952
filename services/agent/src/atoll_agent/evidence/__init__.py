"""Where an enclave's quotes come from, one module for each kind.

vtpm    a virtual TPM, which is the host's
"""
