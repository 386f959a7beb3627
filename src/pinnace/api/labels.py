"""Names of labels, annotations and finalizers that the API itself gives a meaning to."""

METADATA_NAME = "kubernetes.io/metadata.name"

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
LEGACY_CONTROLLER_UID = "controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
LEGACY_JOB_NAME = "job-name"

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"

SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
FINALIZER_KUBERNETES = "kubernetes"
FINALIZER_FOREGROUND = "foregroundDeletion"
FINALIZER_ORPHAN = "orphan"
