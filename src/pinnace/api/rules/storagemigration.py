"""`storagemigration.k8s.io`: a preview."""

from pinnace.api.rules import base, generic

V1BETA1: base.Rows = (
    base.Row(
        "StorageVersionMigration",
        "storageversionmigrations",
        base.CLUSTER,
        subs=base.STATUS,
        rules=generic.by_schema("io.k8s.api.storagemigration.v1beta1", "StorageVersionMigration", namespaced=False),
    ),
)
