"""The object model: kinds, defaults, validation, selectors, patches, tables. No I/O.

How a write becomes an object, in the order the server calls (all work in place on trees the caller owns):

    decode.decode(gvk, tree)                       -> Decoded(tree, findings); raises BadRequest
    defaults.apply_defaults(gvk, tree)             -> None; again after mutating admission
    strategy.prepare_for_create(gvk, tree, now=)   -> None
    strategy.prepare_for_update(gvk, new, old, subresource, now=)
    validation.validate_create(gvk, tree)          -> [FieldError]
    validation.validate_update(gvk, new, old, subresource) -> [FieldError]
    validation.invalid(gvk, name, errors)          -> errors.Invalid
    validation.warnings_for(gvk, new, old)         -> [str]

Services additionally, before allocation and therefore before `strategy`: `services.mirror_cluster_ip`,
`services.carry_over`, `services.settle_families`.

Reading: `tables.columns(gvk)`, `tables.row(gvk, tree, now)`.
Facts: `resources` (what is served), `schema` (what is known about every field).
"""
