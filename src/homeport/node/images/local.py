"""The node's images, in the order they are tried: aliases, the host image, the store, a registry, a stand-in.

`LocalImages` is the asynchronous face the node agent uses; `load_archive` is for the command line.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from homeport.node.images.aliases import Alias, AliasTable, parse_alias
from homeport.node.images.archive import load
from homeport.node.images.host import HOST_REFERENCE, host_image, program_image
from homeport.node.images.programs import stand_in
from homeport.node.images.reference import InvalidReference, Reference, parse
from homeport.node.images.store import ImageStore
from homeport.node.runtime.contract import Image, ImageError

__all__ = ["LocalImages", "Puller", "alias", "list_images", "load_archive"]


class Puller(Protocol):
    """Fetches an image into the store."""

    async def pull(self, reference: Reference) -> Image:
        """Raises ImageError('ErrImagePull', …)."""
        ...


def load_archive(images: Path, archive: Path) -> Sequence[Image]:
    """Add an archive's images to `<data>/images`, engine running or not. Raises BadImage."""
    loaded = []
    for record, references in load(ImageStore(images), archive):
        names = [reference.familiar for reference in references] or [record.id]
        loaded += [record.image(name) for name in names]
    return loaded


def alias(images: Path, text: str) -> Alias:
    """Add the alias `PATTERN=TARGET[ ARG…]` to `<data>/images`. Raises ValueError."""
    made = parse_alias(text)
    AliasTable(images).add(made)
    return made


def list_images(images: Path) -> Sequence[Image]:
    """Return the images of `<data>/images` and the host image."""
    return [*ImageStore(images).list(), host_image(HOST_REFERENCE)]


class LocalImages:
    """Implements `contract.Images`. Without a puller, nothing is fetched."""

    def __init__(self, store: ImageStore, aliases: AliasTable, puller: Puller | None) -> None:
        self._store, self._aliases, self._puller = store, aliases, puller

    async def find(self, reference: str) -> Image | None:
        """Return the image if it is here. Raises ImageError('InvalidImageName', …)."""
        parsed = _parse(reference)
        alias_found = self._aliases.find(reference, parsed)
        if alias_found is None:
            return self._here(reference, parsed)
        image = self._here(reference, parse(alias_found.target))
        if image is None:
            return None
        note = f"{reference} is an alias of {alias_found.target}"
        if alias_found.argv:
            return replace(image, entrypoint=alias_found.argv, command=(), note=note)
        return replace(image, note=note)

    async def pull(self, reference: str) -> Image:
        """Fetch the image, or find what stands in for it. Raises ImageError."""
        parsed = _parse(reference)
        alias_found = self._aliases.find(reference, parsed)
        here = await self.find(reference)
        if here is not None and (alias_found is not None or _is_host(parsed)):
            return here
        try:
            if self._puller is None:
                raise ImageError("ErrImagePull", _cannot_resolve(parsed, "pulling is switched off"))
            return replace(await self._puller.pull(parsed), reference=reference)
        except ImageError as error:
            if here is not None and self._is_loaded(here):
                return replace(here, note=f"{reference} was loaded on this machine; its registry has no say")
            program = stand_in(parsed)
            if program is None:
                raise
            image = program_image(program, reference)
            return replace(image, note=f"{image.note} ({error.message})")

    async def list(self) -> Sequence[Image]:
        return [*self._store.list(), host_image(HOST_REFERENCE)]

    def _here(self, text: str, reference: Reference) -> Image | None:
        if _is_host(reference):
            return host_image(text)
        record = self._store.resolve(reference)
        return record.image(text, "" if record.loaded else record.manifest_digest) if record else None

    def _is_loaded(self, image: Image) -> bool:
        record = self._store.get(image.id)
        return record is not None and record.loaded


def _is_host(reference: Reference) -> bool:
    return reference.name == HOST_REFERENCE


def _parse(text: str) -> Reference:
    try:
        return parse(text)
    except InvalidReference as error:
        raise ImageError("InvalidImageName", f'couldn\'t parse image name "{text}": {error}') from error


def _cannot_resolve(reference: Reference, why: str) -> str:
    return f'failed to pull and unpack image "{reference}": failed to resolve reference "{reference}": {why}'
