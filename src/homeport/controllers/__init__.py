"""Controllers: each a pure `reconcile` and a shell on informers and a work queue."""
