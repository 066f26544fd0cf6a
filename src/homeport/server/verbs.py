"""One function per verb on a resource: from a classified call to its response."""

from typing import Final

from homeport.api import strategy
from homeport.api.defaults import apply_defaults
from homeport.api.exchange import Response
from homeport.errors import BadRequest
from homeport.server import answers, bodies, failures, patches
from homeport.server.delete import Deleter
from homeport.server.lists import FUTURE_SECONDS
from homeport.server.objects import Stored, Tree
from homeport.server.options import DeleteOptions, WriteOptions, delete_options, list_options, write_options
from homeport.server.representation import list_bytes, list_tree
from homeport.server.services import Call, Services
from homeport.server.writes import Outcome, Writer

__all__ = ["Verbs", "check_place"]

_ORPHANED_PODS: Final = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)


class Verbs:
    """The verbs every resource answers to; subresources have their own."""

    def __init__(self, services: Services, writer: Writer, deleter: Deleter) -> None:
        self._services, self._writer, self._deleter = services, writer, deleter

    async def get(self, call: Call) -> Response:
        services, target = self._services, call.target
        version = call.query.get("resourceVersion", "")
        if version not in ("", "0"):
            if not version.isascii() or not version.isdigit():
                raise failures.bad_version("resourceVersion", version)
            if not await services.hub.at_least(int(version), FUTURE_SECONDS):
                raise failures.version_too_large(int(version), services.hub.revision)
        assert target.name is not None
        stored = services.storage.get(call.codec, target.namespace, target.name)
        return answers.shown(call.codec, stored, call.representation, services.clock.now())

    async def list(self, call: Call) -> Response:
        options = list_options(call.query, watch=False)
        if call.representation.shared:
            page = await self._services.lister.find(call.codec, call.target.namespace, options)
            return Response(200, document=list_tree(call.codec, page.items, page.metadata()))
        content = await self._services.lister.answer(
            call.codec, call.target.namespace, options, call.representation, self._services.clock.now()
        )
        return answers.body(content, call.representation)

    async def watch(self, call: Call) -> Response:
        options = list_options(call.query, watch=True)
        stream = await self._services.watches.open(
            call.codec, call.target.namespace, call.target.name, options, call.representation
        )
        headers = [("content-type", call.representation.content_type)]
        if call.representation.shared:
            return Response(200, headers, documents=stream)
        return Response(200, headers, stream=stream)

    async def create(self, call: Call) -> Response:
        options = write_options(call.query, call.repeated, "CreateOptions")
        tree = decoded(call, options, call.warnings)
        outcome = await self._writer.create(
            call.codec, call.target.namespace, tree, call.user, call.warnings, dry_run=options.dry_run
        )
        return self.answer(call, outcome)

    async def update(self, call: Call) -> Response:
        target = call.target
        assert target.name is not None
        options = write_options(call.query, call.repeated, "UpdateOptions")
        tree = decoded(call, options, call.warnings)
        check_place(tree, target.name)
        gvk = call.gvk
        creates = (gvk.group, gvk.kind) in strategy.CREATE_ON_UPDATE and not target.subresource
        if creates and self._services.storage.find(call.codec, target.namespace, target.name) is None:
            call.require("create")
            outcome = await self._writer.create(
                call.codec, target.namespace, tree, call.user, call.warnings, dry_run=options.dry_run
            )
            return self.answer(call, outcome)
        conditional = bool(tree["metadata"].get("resourceVersion"))
        warned: list[str] = []

        def build(old: Stored) -> Tree:
            warned.clear()
            wanted = decoded(call, options, warned)
            _check_uid(call, old, wanted)
            return wanted

        outcome = await self._writer.update(
            call.codec,
            target.namespace,
            target.name,
            build,
            call.user,
            call.warnings,
            subresource=target.subresource,
            dry_run=options.dry_run,
            retry=not conditional,
        )
        return self.answer(call, outcome)

    async def patch(self, call: Call) -> Response:
        target = call.target
        assert target.name is not None
        patch = patches.read(call)
        options = write_options(call.query, call.repeated, "PatchOptions")
        patches.check_options(options)
        warned: list[str] = []

        def build(old: Stored) -> Tree:
            warned.clear()
            return patches.patched(call, patch, old, options, warned)

        try:
            outcome = await self._writer.update(
                call.codec,
                target.namespace,
                target.name,
                build,
                call.user,
                call.warnings,
                subresource=target.subresource,
                dry_run=options.dry_run,
            )
        finally:
            call.warnings += warned
        return self.answer(call, outcome)

    async def delete(self, call: Call) -> Response:
        target, resource = call.target, call.codec.resource
        assert target.name is not None
        options = delete_options(call.query, call.repeated, delete_body(call))
        _warn_of_orphans(call, options)
        deleted = await self._deleter.delete(call.codec, target.namespace, target.name, options, call.user)
        now = self._services.clock.now()
        if not deleted.gone or (resource.group, resource.kind) in strategy.RETURNS_DELETED_OBJECT:
            return answers.tree(deleted.tree, resource.gvk, call.representation, now)
        return answers.success(
            call.representation,
            name=target.name,
            group=resource.group,
            kind=resource.plural,
            uid=deleted.tree["metadata"]["uid"],
        )

    async def deletecollection(self, call: Call) -> Response:
        services, namespace = self._services, call.target.namespace
        options = list_options(call.query, watch=False)
        deletion = delete_options(call.query, call.repeated, delete_body(call))
        _warn_of_orphans(call, deletion)
        page = await services.lister.find(call.codec, namespace, options)
        await self._deleter.collection(call.codec, namespace, page.items, deletion, call.user)
        content = list_bytes(call.codec, page.items, page.metadata(), call.representation, services.clock.now())
        return answers.body(content, call.representation)

    def answer(self, call: Call, outcome: Outcome) -> Response:
        """Answer with what a write left behind."""
        now, status = self._services.clock.now(), 201 if outcome.created else 200
        if outcome.stored is not None:
            return answers.shown(call.codec, outcome.stored, call.representation, now, status)
        assert outcome.tree is not None
        return answers.tree(outcome.tree, call.gvk, call.representation, now, status)


def decoded(call: Call, options: WriteOptions, warnings: list[str]) -> Tree:
    """Decode and default the call's body; what strict decoding objects to becomes warnings."""
    body = bodies.read_object(
        call.request.headers, call.request.body, call.gvk, strictness=options.field_validation or "Warn"
    )
    warnings.extend(body.findings)
    apply_defaults(call.gvk, body.tree)
    return body.tree


def check_place(tree: Tree, name: str) -> None:
    """Refuse a body that is not about the object the URL names (6.4)."""
    named = tree["metadata"].get("name", "")
    if not named:
        raise BadRequest(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if named != name:
        raise BadRequest(f"the name of the object ({named}) does not match the name on the URL ({name})")


def _check_uid(call: Call, old: Stored, wanted: Tree) -> None:
    uid, stored = wanted["metadata"].get("uid", ""), old.tree["metadata"]["uid"]
    if uid and uid != stored:
        raise failures.storage_conflict(call.codec.resource, old.name, call.target.namespace, uid, stored)


def delete_body(call: Call) -> Tree | None:
    """Return the DeleteOptions document of a request, or None when there is no body."""
    if not call.request.body:
        return None
    tree, _ = bodies.read_tree(call.request.headers, call.request.body, "DeleteOptions")
    kind = tree.get("kind")
    if kind and kind != "DeleteOptions":
        version = tree.get("apiVersion", "")
        raise BadRequest(
            f'no kind "{kind}" is registered for version "{version}" in scheme '
            '"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"'
        )
    return tree


def _warn_of_orphans(call: Call, options: DeleteOptions) -> None:
    """Tell a client that deletes Jobs and does not say what becomes of their pods (8.9)."""
    resource = call.codec.resource
    if (resource.group, resource.kind) == ("batch", "Job") and not options.propagation and options.orphan is None:
        call.warnings.append(_ORPHANED_PODS)
