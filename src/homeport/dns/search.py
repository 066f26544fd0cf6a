"""Search lists: from the name a person types to the names a resolver tries. Source: resolv.conf(5); node 7.7."""

from homeport.dns.name import Name, from_text

__all__ = ["NDOTS", "candidates"]

NDOTS = 5


def candidates(text: str, namespace: str, domain: str) -> list[Name]:
    """Return the absolute names to try, in order, as a pod of `namespace` would. Raises ValueError."""
    name = from_text(text)
    if text.endswith("."):
        return [name]
    suffixes = [from_text(f"{namespace}.svc.{domain}"), from_text(f"svc.{domain}"), from_text(domain)]
    searched = [(*name, *suffix) for suffix in suffixes]
    return [name, *searched] if len(name) - 1 >= NDOTS or text.endswith(f".{domain}") else [*searched, name]
