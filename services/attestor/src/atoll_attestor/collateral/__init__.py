"""What vendors publish and evidence is judged by: fetched, checked, shared by all replicas.

* `fetch`: one document from a URL that the operator allowed.
* `crls`: which revocation list counts. Pure.
* `cache`: the bucket `collateral`, filled from files and from AMD's KDS.

Not here: VCEK certificates (evidence brings its own) and Intel's collateral.
"""
