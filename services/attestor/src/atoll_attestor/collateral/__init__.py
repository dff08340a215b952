"""What vendors publish and evidence is judged by: fetched, checked, shared by all replicas.

* `fetch`: one document from a URL that the operator allowed.
* `crls`: which of AMD's revocation lists counts. Pure. `cache`: those lists in the bucket.
* `documents`: every other document, and what makes it authentic. Pure. `store`: in the bucket.
* `kds`, `pcs`: where AMD and Intel serve them.
* `pairing`: which files belong together. Pure. `importing`: a directory of them.
* `supply`: all of this, as settings want it.
"""
