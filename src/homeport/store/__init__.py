"""Revisions and watch: an ordered log of writes, with the present state and recent history at hand."""
