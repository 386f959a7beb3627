"""The three kinds of patch that change an object by its own text: JSON patch, merge patch, strategic merge patch.

Inputs are never changed; what a patch does not touch is shared with the result. Server-side apply is `managed_fields`.
"""
