"""Policies as documents: named, numbered, signed, activated once and never rolled back.

* `sections`: what a document can hold for each TEE, and how to register another.
* `document`: the document and its canonical JSON.
* `signed`: signatures of the policy's owners.
* `lint`: what a person should look at before signing.
* `diff`: what changed, and whether it got tighter or looser.
* `templates`: strict policies to start from.
* `state`: what is in force under a name, and how it is kept.
* `activation`: which document may follow which, and what shadow, warn and enforce mean.
* `records`: kept appraisals, and what another policy would have said about them.

All pure; where documents are kept is behind `state.PolicyStore`. May import `evidence`
and `sealing`.
"""
