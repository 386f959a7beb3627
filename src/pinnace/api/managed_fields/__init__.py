"""Who manages which field: `update` after an ordinary write, `apply` for server-side apply (structured merge and diff).

Both are pure and change none of their arguments.
"""

from pinnace.api.managed_fields.tracking import apply, update

__all__ = ["apply", "update"]
