"""Volumes of pods: each is a host path that containers see. Source: `node` sections 8 and 9."""
