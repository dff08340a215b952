"""RISC-V Keystone: the security monitor's and an enclave's report, parsed, proven, judged.

ed25519_sha3     Ed25519 as Keystone has it, hashing with SHA3-512; verification only
report           the report                                parse
verify           authenticity under trusted device keys    `verify_keystone`
policy           what a relying party accepts
findings         one finding for every field of the policy
judge            verdict on one published vector
"""
