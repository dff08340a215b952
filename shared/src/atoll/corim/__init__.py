"""Reference values as CoRIM (draft-ietf-rats-corim-11, CDDL of 2026-07-06).

What a vendor or a build says an environment's measurements are, in CBOR, signed or not.

* `values`: the values, each legal by construction.
* `codec`: to and from CBOR; `oids`: OIDs in it.
* `signed`: COSE_Sign1 around it: who says so, and until when.
* `snp`: SEV-SNP by AMD's profile, to and from the fields of a policy.
* `measured`: TDX and Keystone by our profiles, likewise; `keystone`: device keys.
* `policies`: all of them, into a policy and out of one.

Read is the part of CoRIM that names reference values. Whatever else could change their
meaning (endorsements, conditions, locators, linked tags, authorised keys) is refused and not
skipped. Pure. May import `evidence`, `cbor`, `cose`; needs the extra `verify`.
"""
