"""Which empty values disappear: the facts about upstream's types that the definitions do not tell.

In upstream's types an optional field is a pointer (its zero value is kept and printed) or a plain value with `omitempty` (its
zero value is the same as absence). Lists, maps and texts are plain unless named here; booleans and numbers are pointers unless named here.
"""

from pinnace.api import schema as schemas


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Texts that are pointers: "" means something other than absence.
POINTER_TEXTS = _words(
    """
    apiGroup appProtocol completionMode currentVolumeAttributesClassName endpointIP failurePolicy
    fsGroupChangePolicy holderIdentity hostname hostnameOverride ingressClassName initiatorName internalTrafficPolicy
    ipFamilyPolicy loadBalancerClass localhostProfile managedBy matchPolicy mountPropagation nodeAffinityPolicy nodeName
    nodeTaintsPolicy pathType persistentVolumeName podReplacementPolicy preemptionPolicy preferredHolder procMount
    reclaimPolicy recursiveReadOnly reinvocationPolicy resourceClaimName resourceClaimTemplateName restartPolicy
    runtimeClassName seLinuxChangePolicy selectPolicy sideEffects storageClassName strategy timeZone trafficDistribution
    unhealthyPodEvictionPolicy volumeAttributesClassName volumeBindingMode volumeMode zone
    """
)

# The same names as plain values.
PLAIN_TEXTS = frozenset(
    {
        ("PersistentVolumeSpec", "storageClassName"),
        ("PodSpec", "nodeName"),
        ("PodSpec", "hostname"),
        ("PodSpec", "restartPolicy"),
        ("RoleRef", "apiGroup"),
        ("Subject", "apiGroup"),
        ("VolumeAttachmentSpec", "nodeName"),
        ("LoadBalancerIngress", "hostname"),
        ("IngressLoadBalancerIngress", "hostname"),
        ("EndpointAddress", "hostname"),
    }
)

POINTER_TEXT_FIELDS = frozenset(
    {
        ("EndpointPort", "name"),
        ("EndpointPort", "protocol"),
        ("GRPCAction", "service"),
        ("HostPathVolumeSource", "type"),
        ("CSIVolumeSource", "fsType"),
        ("AzureDiskVolumeSource", "fsType"),
        ("NetworkPolicyPort", "protocol"),
        ("PodDNSConfigOption", "value"),
        ("WebhookClientConfig", "url"),
        ("ServiceReference", "path"),
        ("IngressClassParametersReference", "namespace"),
        ("IngressClassParametersReference", "scope"),
        ("TypedObjectReference", "namespace"),
        ("WindowsSecurityContextOptions", "gmsaCredentialSpec"),
        ("WindowsSecurityContextOptions", "gmsaCredentialSpecName"),
        ("WindowsSecurityContextOptions", "runAsUserName"),
    }
)

# Booleans with omitempty that are no pointers.
PLAIN_FLAGS = _words(
    """
    chapAuthDiscovery chapAuthSession denied exclusiveMaximum exclusiveMinimum globalDefault hostIPC hostNetwork hostPID
    insecureSkipTLSVerify nullable paused publishNotReadyAddresses readOnly sslEnabled stdin stdinOnce tty uniqueItems
    unschedulable x-kubernetes-embedded-resource x-kubernetes-int-or-string
    """
)
POINTER_FLAG_FIELDS = frozenset({("CSIVolumeSource", "readOnly"), ("AzureDiskVolumeSource", "readOnly")})

# Numbers with omitempty that are no pointers.
PLAIN_NUMBERS = _words(
    """
    active availableReplicas currentReplicas failed failureThreshold fullyLabeledReplicas generation healthCheckNodePort
    hostPort initialDelaySeconds minReadySeconds nodePort numberAvailable numberUnavailable observedGeneration partition
    periodSeconds readyReplicas signal succeeded successThreshold timeoutSeconds unavailableReplicas updatedNumberScheduled
    updatedReplicas count
    """
)
POINTER_NUMBER_FIELDS = frozenset(
    {
        ("RollingUpdateStatefulSetStrategy", "partition"),
        ("ClientIPConfig", "timeoutSeconds"),
        ("ValidatingWebhook", "timeoutSeconds"),
        ("MutatingWebhook", "timeoutSeconds"),
        ("HorizontalPodAutoscalerStatus", "observedGeneration"),
        ("SleepAction", "seconds"),
    }
)

# Lists without omitempty: an empty one is stored and printed.
KEPT_LISTS = frozenset(
    {
        ("ClusterRole", "rules"),
        ("Role", "rules"),
        ("EndpointSlice", "endpoints"),
        ("EndpointSlice", "ports"),
        ("PodSpec", "containers"),
    }
)


def disappears(owner: str, field: str, schema: schemas.Schema, is_required: bool) -> bool:
    """Whether the zero value of `field` in the definition `owner` (last part of its name) is the same as absence."""
    if is_required:
        return False
    key = (owner, field)
    match schema.type:
        case "array":
            return key not in KEPT_LISTS
        case "object":
            return schema.additional is not None
        case "string" if schema.format in ("", schemas.BYTES):
            if key in PLAIN_TEXTS:
                return True
            return field not in POINTER_TEXTS and key not in POINTER_TEXT_FIELDS
        case "boolean":
            return field in PLAIN_FLAGS and key not in POINTER_FLAG_FIELDS
        case "integer":
            return field in PLAIN_NUMBERS and key not in POINTER_NUMBER_FIELDS
    return False
