"""The API server: protocol, routing, verbs, watch fan-out, authentication, admission."""
