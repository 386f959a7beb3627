"""What a client is warned of although its object is stored, in upstream's words: fields that are deprecated, settings that surprise.

A kind's `rules.warnings` is called once validation has found nothing: (new, old or None on create, subresource or "") -> texts. Pure.
Whoever changes something else than what is warned of has been told already, and is not told again.
"""
