"""The object model: kinds, defaults, validation, selectors, patches, tables. No I/O."""
