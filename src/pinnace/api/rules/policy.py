"""`policy`: disruption budgets."""

from pinnace.api.rules import base
from pinnace.api.tables import workloads
from pinnace.api.validation import policy

DISRUPTION_BUDGET = base.Rules(
    counts=("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"),
    generation_of=base.but_status,
    validate_create=policy.disruption_budget,
    update=base.Part(validate=policy.disruption_budget_update),
    status=base.Part(base.status_alone, policy.disruption_budget_status),
    is_conditional_only=True,
    printer=workloads.POD_DISRUPTION_BUDGET,
)

V1: base.Rows = (
    base.Row(
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        base.NAMESPACED,
        "pdb",
        subs=base.STATUS,
        rules=DISRUPTION_BUDGET,
    ),
)
