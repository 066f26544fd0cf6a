"""Where container images come from: loaded archives, aliases, the host itself, registries."""
