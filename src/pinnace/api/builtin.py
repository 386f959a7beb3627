"""The built-in kinds of Kubernetes v1.36: what the OpenAPI definitions do not say (plurals, short names, verbs, subresources).

Facts in the order in which discovery prints them. `kinds.builtin()` is the only reader.
"""

import dataclasses

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE = ("create",)
STATUS_VERBS = ("get", "patch", "update")
CONNECT = ("create", "get")
PROXY = ("create", "delete", "get", "patch", "update")

NAMESPACED = True
CLUSTER = False


@dataclasses.dataclass(frozen=True, slots=True)
class Sub:
    name: str
    verbs: tuple[str, ...] = STATUS_VERBS
    kind: str = ""
    """ "" is the parent's own."""
    group: str = ""
    version: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    kind: str
    plural: str
    namespaced: bool
    short: str = ""
    categories: str = ""
    subs: tuple[Sub, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    is_virtual: bool = False
    folder: str = ""
    """Below `/registry/`, where it is not the plural."""


STATUS = (Sub("status"),)
SCALE_STATUS = (Sub("scale", STATUS_VERBS, "Scale", "autoscaling", "v1"), Sub("status"))
EXTENSION = "api-extensions"


def _review(kind: str, namespaced: bool = CLUSTER) -> Row:
    return Row(kind, kind.lower() + "s", namespaced, verbs=CREATE, is_virtual=True)


CORE = (
    Row("Binding", "bindings", NAMESPACED, verbs=CREATE, is_virtual=True),
    Row("ComponentStatus", "componentstatuses", CLUSTER, "cs", verbs=("get", "list"), is_virtual=True),
    Row("ConfigMap", "configmaps", NAMESPACED, "cm"),
    Row("Endpoints", "endpoints", NAMESPACED, "ep", folder="services/endpoints"),
    Row("Event", "events", NAMESPACED, "ev"),
    Row("LimitRange", "limitranges", NAMESPACED, "limits"),
    Row(
        "Namespace",
        "namespaces",
        CLUSTER,
        "ns",
        subs=(Sub("finalize", ("update",)), Sub("status")),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    ),
    Row(
        "Node", "nodes", CLUSTER, "no", subs=(Sub("proxy", PROXY, "NodeProxyOptions"), Sub("status")), folder="minions"
    ),
    Row("PersistentVolumeClaim", "persistentvolumeclaims", NAMESPACED, "pvc", subs=STATUS),
    Row("PersistentVolume", "persistentvolumes", CLUSTER, "pv", subs=STATUS),
    Row(
        "Pod",
        "pods",
        NAMESPACED,
        "po",
        "all",
        (
            Sub("attach", CONNECT, "PodAttachOptions"),
            Sub("binding", CREATE, "Binding"),
            Sub("ephemeralcontainers"),
            Sub("eviction", CREATE, "Eviction", "policy", "v1"),
            Sub("exec", CONNECT, "PodExecOptions"),
            Sub("log", ("get",)),
            Sub("portforward", CONNECT, "PodPortForwardOptions"),
            Sub("proxy", PROXY, "PodProxyOptions"),
            Sub("resize"),
            Sub("status"),
        ),
    ),
    Row("PodTemplate", "podtemplates", NAMESPACED),
    Row("ReplicationController", "replicationcontrollers", NAMESPACED, "rc", "all", SCALE_STATUS, folder="controllers"),
    Row("ResourceQuota", "resourcequotas", NAMESPACED, "quota", subs=STATUS),
    Row("Secret", "secrets", NAMESPACED),
    Row(
        "ServiceAccount",
        "serviceaccounts",
        NAMESPACED,
        "sa",
        subs=(Sub("token", CREATE, "TokenRequest", "authentication.k8s.io", "v1"),),
    ),
    Row(
        "Service",
        "services",
        NAMESPACED,
        "svc",
        "all",
        (Sub("proxy", PROXY, "ServiceProxyOptions"), Sub("status")),
        folder="services/specs",
    ),
)

_HPA = (Row("HorizontalPodAutoscaler", "horizontalpodautoscalers", NAMESPACED, "hpa", "all", STATUS),)
_TRUST_BUNDLE = Row("ClusterTrustBundle", "clustertrustbundles", CLUSTER)
_ADDRESSES = (
    Row("IPAddress", "ipaddresses", CLUSTER, "ip"),
    Row("ServiceCIDR", "servicecidrs", CLUSTER, subs=STATUS),
)
_ATTRIBUTES_CLASS = Row("VolumeAttributesClass", "volumeattributesclasses", CLUSTER, "vac")
_MUTATING_POLICIES = (
    Row("MutatingAdmissionPolicy", "mutatingadmissionpolicies", CLUSTER, categories=EXTENSION),
    Row("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", CLUSTER, categories=EXTENSION),
)
_LEASE_CANDIDATE = (Row("LeaseCandidate", "leasecandidates", NAMESPACED),)
_DEVICE_CLASS = Row("DeviceClass", "deviceclasses", CLUSTER)
_TAINT_RULE = Row("DeviceTaintRule", "devicetaintrules", CLUSTER, subs=STATUS)
_CLAIMS = (
    Row("ResourceClaim", "resourceclaims", NAMESPACED, subs=STATUS),
    Row("ResourceClaimTemplate", "resourceclaimtemplates", NAMESPACED),
    Row("ResourceSlice", "resourceslices", CLUSTER),
)

# (group, version, rows). Of several versions of a group the first is the preferred one.
TABLE: tuple[tuple[str, str, tuple[Row, ...]], ...] = (
    ("", "v1", CORE),
    (
        "apiregistration.k8s.io",
        "v1",
        (
            Row(
                "APIService",
                "apiservices",
                CLUSTER,
                categories=EXTENSION,
                subs=STATUS,
                folder="apiregistration.k8s.io/apiservices",
            ),
        ),
    ),
    (
        "apps",
        "v1",
        (
            Row("ControllerRevision", "controllerrevisions", NAMESPACED),
            Row("DaemonSet", "daemonsets", NAMESPACED, "ds", "all", STATUS),
            Row("Deployment", "deployments", NAMESPACED, "deploy", "all", SCALE_STATUS),
            Row("ReplicaSet", "replicasets", NAMESPACED, "rs", "all", SCALE_STATUS),
            Row("StatefulSet", "statefulsets", NAMESPACED, "sts", "all", SCALE_STATUS),
        ),
    ),
    ("events.k8s.io", "v1", (Row("Event", "events", NAMESPACED, "ev"),)),
    ("authentication.k8s.io", "v1", (_review("SelfSubjectReview"), _review("TokenReview"))),
    (
        "authorization.k8s.io",
        "v1",
        (
            _review("LocalSubjectAccessReview", NAMESPACED),
            _review("SelfSubjectAccessReview"),
            _review("SelfSubjectRulesReview"),
            _review("SubjectAccessReview"),
        ),
    ),
    ("autoscaling", "v2", _HPA),
    ("autoscaling", "v1", _HPA),
    (
        "batch",
        "v1",
        (
            Row("CronJob", "cronjobs", NAMESPACED, "cj", "all", STATUS),
            Row("Job", "jobs", NAMESPACED, "", "all", STATUS),
        ),
    ),
    (
        "certificates.k8s.io",
        "v1",
        (
            Row(
                "CertificateSigningRequest",
                "certificatesigningrequests",
                CLUSTER,
                "csr",
                subs=(Sub("approval"), Sub("status")),
            ),
        ),
    ),
    (
        "certificates.k8s.io",
        "v1beta1",
        (_TRUST_BUNDLE, Row("PodCertificateRequest", "podcertificaterequests", NAMESPACED, subs=STATUS)),
    ),
    ("certificates.k8s.io", "v1alpha1", (_TRUST_BUNDLE,)),
    (
        "networking.k8s.io",
        "v1",
        (
            Row("IngressClass", "ingressclasses", CLUSTER),
            Row("Ingress", "ingresses", NAMESPACED, "ing", subs=STATUS, folder="ingress"),
            _ADDRESSES[0],
            Row("NetworkPolicy", "networkpolicies", NAMESPACED, "netpol"),
            _ADDRESSES[1],
        ),
    ),
    ("networking.k8s.io", "v1beta1", _ADDRESSES),
    ("policy", "v1", (Row("PodDisruptionBudget", "poddisruptionbudgets", NAMESPACED, "pdb", subs=STATUS),)),
    (
        "rbac.authorization.k8s.io",
        "v1",
        (
            Row("ClusterRoleBinding", "clusterrolebindings", CLUSTER),
            Row("ClusterRole", "clusterroles", CLUSTER),
            Row("RoleBinding", "rolebindings", NAMESPACED),
            Row("Role", "roles", NAMESPACED),
        ),
    ),
    (
        "storage.k8s.io",
        "v1",
        (
            Row("CSIDriver", "csidrivers", CLUSTER),
            Row("CSINode", "csinodes", CLUSTER),
            Row("CSIStorageCapacity", "csistoragecapacities", NAMESPACED),
            Row("StorageClass", "storageclasses", CLUSTER, "sc"),
            Row("VolumeAttachment", "volumeattachments", CLUSTER, subs=STATUS),
            _ATTRIBUTES_CLASS,
        ),
    ),
    ("storage.k8s.io", "v1beta1", (_ATTRIBUTES_CLASS,)),
    (
        "admissionregistration.k8s.io",
        "v1",
        (
            *_MUTATING_POLICIES,
            Row("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", CLUSTER, categories=EXTENSION),
            Row("ValidatingAdmissionPolicy", "validatingadmissionpolicies", CLUSTER, categories=EXTENSION, subs=STATUS),
            Row("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", CLUSTER, categories=EXTENSION),
            Row("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", CLUSTER, categories=EXTENSION),
        ),
    ),
    ("admissionregistration.k8s.io", "v1beta1", _MUTATING_POLICIES),
    ("admissionregistration.k8s.io", "v1alpha1", _MUTATING_POLICIES),
    (
        "apiextensions.k8s.io",
        "v1",
        (
            Row(
                "CustomResourceDefinition",
                "customresourcedefinitions",
                CLUSTER,
                "crd crds",
                EXTENSION,
                STATUS,
                folder="apiextensions.k8s.io/customresourcedefinitions",
            ),
        ),
    ),
    ("scheduling.k8s.io", "v1", (Row("PriorityClass", "priorityclasses", CLUSTER, "pc"),)),
    (
        "scheduling.k8s.io",
        "v1alpha2",
        (Row("PodGroup", "podgroups", NAMESPACED, subs=STATUS), Row("Workload", "workloads", NAMESPACED)),
    ),
    ("coordination.k8s.io", "v1", (Row("Lease", "leases", NAMESPACED),)),
    ("coordination.k8s.io", "v1beta1", _LEASE_CANDIDATE),
    ("coordination.k8s.io", "v1alpha2", _LEASE_CANDIDATE),
    ("node.k8s.io", "v1", (Row("RuntimeClass", "runtimeclasses", CLUSTER),)),
    ("discovery.k8s.io", "v1", (Row("EndpointSlice", "endpointslices", NAMESPACED),)),
    ("resource.k8s.io", "v1", (_DEVICE_CLASS, *_CLAIMS)),
    ("resource.k8s.io", "v1beta2", (_DEVICE_CLASS, _TAINT_RULE, *_CLAIMS)),
    ("resource.k8s.io", "v1beta1", (_DEVICE_CLASS, *_CLAIMS)),
    (
        "resource.k8s.io",
        "v1alpha3",
        (_TAINT_RULE, Row("ResourcePoolStatusRequest", "resourcepoolstatusrequests", CLUSTER, subs=STATUS)),
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "v1",
        (
            Row("FlowSchema", "flowschemas", CLUSTER, subs=STATUS),
            Row("PriorityLevelConfiguration", "prioritylevelconfigurations", CLUSTER, subs=STATUS),
        ),
    ),
    ("internal.apiserver.k8s.io", "v1alpha1", (Row("StorageVersion", "storageversions", CLUSTER, subs=STATUS),)),
    (
        "storagemigration.k8s.io",
        "v1beta1",
        (Row("StorageVersionMigration", "storageversionmigrations", CLUSTER, subs=STATUS),),
    ),
)

# Where the definitions of a group live, when it is not `io.k8s.api.<first label of the group>`.
PACKAGES = {
    "": "io.k8s.api.core",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
    "flowcontrol.apiserver.k8s.io": "io.k8s.api.flowcontrol",
    "internal.apiserver.k8s.io": "io.k8s.api.apiserverinternal",
}
