"""The API client: transports, typed verbs, informers, work queue, leases."""
