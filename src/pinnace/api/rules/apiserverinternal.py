"""`internal.apiserver.k8s.io`: a preview."""

from pinnace.api.rules import base, generic

V1ALPHA1: base.Rows = (
    base.Row(
        "StorageVersion",
        "storageversions",
        base.CLUSTER,
        subs=base.STATUS,
        rules=generic.by_schema("io.k8s.api.apiserverinternal.v1alpha1", "StorageVersion", namespaced=False),
    ),
)
