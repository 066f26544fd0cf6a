"""exec, attach and port-forward: SPDY/3.1 and WebSocket on one side, containers on the other."""
