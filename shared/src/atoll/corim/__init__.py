"""Reference values as CoRIM (draft-ietf-rats-corim-10 and its CDDL as of August 2026).

What a vendor or a build says an environment's measurements are, in CBOR, signed or not.

* `values`: the values, each legal by construction.
* `codec`: to and from CBOR.
* `signed`: COSE_Sign1 around it: who says so, and until when.
* `snp`: SEV-SNP by AMD's profile, to and from the fields of a policy.
* `measured`: TDX and Keystone by our profiles, likewise.

Read is the part of CoRIM that names reference values. Whatever else could change their
meaning (endorsements, conditions, locators, linked tags, authorised keys) is refused and not
skipped. Pure. May import `evidence`, `cbor`, `cose`; needs the extra `verify`.
"""
