"""The paths below an object: status, scale, binding, eviction, tokens, logs, streams (api-machinery 17, 18)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from homeport.api.defaults import apply_defaults
from homeport.api.exchange import Response
from homeport.api.resources import Gvk
from homeport.api.selectors import LabelSelector, label_selector_from_object
from homeport.clock import rfc3339
from homeport.errors import ApiError, BadRequest, Cause, Conflict, Details
from homeport.server import answers, bodies, failures, patches
from homeport.server.delete import Deleter
from homeport.server.eviction import Evictions, set_condition
from homeport.server.nodeproxy import NodeProxy
from homeport.server.objects import Stored, Tree
from homeport.server.options import WriteOptions, write_options
from homeport.server.proxying import Proxy
from homeport.server.services import Call, Services
from homeport.server.tokens import Tokens
from homeport.server.verbs import Verbs, check_place
from homeport.server.writes import Writer, fresh

__all__ = ["Subresources"]

_SCALE: Final = Gvk("autoscaling", "v1", "Scale")
_BINDING: Final = Gvk("", "v1", "Binding")
_EVICTION: Final = Gvk("policy", "v1", "Eviction")


class Subresources:
    """One method per subresource; those that read and write the parent alone go through the common verbs."""

    def __init__(
        self,
        services: Services,
        verbs: Verbs,
        writer: Writer,
        deleter: Deleter,
        tokens: Tokens,
        node: NodeProxy,
    ) -> None:
        self._services, self._verbs, self._writer, self._deleter = services, verbs, writer, deleter
        self._tokens, self._node = tokens, node
        self._evictions = Evictions(services, writer, deleter)
        self._by_name: Mapping[str, Callable[[Call], Awaitable[Response]]] = {
            "status": self._parent,
            "finalize": self._parent,
            "ephemeralcontainers": self._parent,
            "resize": self._parent,
            "scale": self._scale,
            "binding": self._binding,
            "eviction": self._eviction,
            "token": self._token,
            "log": node.log,
            "exec": node.stream,
            "attach": node.stream,
            "portforward": node.stream,
            "proxy": Proxy(services).handle,
        }

    async def handle(self, call: Call) -> Response:
        return await self._by_name[call.target.subresource](call)

    async def _parent(self, call: Call) -> Response:
        """Read the whole object, or write the part of it that the subresource stands for."""
        match call.target.verb:
            case "get":
                return await self._verbs.get(call)
            case "update":
                return await self._verbs.update(call)
            case "patch":
                return await self._verbs.patch(call)
            case _:
                raise failures.method_not_allowed()

    async def _scale(self, call: Call) -> Response:
        services, target = self._services, call.target
        assert target.name is not None
        now = services.clock.now()
        if target.verb == "get":
            parent = services.storage.get(call.codec, target.namespace, target.name)
            return answers.tree(_scale_of(call.codec.tree(parent)), _SCALE, call.representation, now)
        kind = "PatchOptions" if target.verb == "patch" else "UpdateOptions"
        options = write_options(call.query, call.repeated, kind)
        patch = patches.read(call) if target.verb == "patch" else None
        conditional = False
        if patch is None:
            scale = self._decoded(call, _SCALE, options)
            check_place(scale, target.name)
            conditional = bool(scale["metadata"].get("resourceVersion"))

        def build(old: Stored) -> Tree:
            before = _scale_of(call.codec.tree(old))
            wanted = (
                self._decoded(call, _SCALE, options)
                if patch is None
                else patches.applied(patch, before, _SCALE, options, call.warnings)
            )
            return _scaled(call, old, wanted, before)

        outcome = await self._writer.update(
            call.codec,
            target.namespace,
            target.name,
            build,
            call.user,
            call.warnings,
            dry_run=options.dry_run,
            retry=not conditional,
        )
        return answers.tree(_scale_of(outcome.shown(call.codec)), _SCALE, call.representation, now)

    async def _binding(self, call: Call) -> Response:
        target = call.target
        options = write_options(call.query, call.repeated, "CreateOptions")
        binding = self._decoded(call, _BINDING, options)
        metadata = binding["metadata"]
        name = target.name or metadata.get("name", "")
        if metadata.get("namespace", target.namespace) != target.namespace:
            raise failures.namespace_mismatch()
        if metadata.get("name", name) != name:
            raise BadRequest("name in URL does not match name in Binding object")
        _check_binding(binding.get("target") or {})
        node = binding["target"]["name"]

        def build(old: Stored) -> Tree:
            stored = call.codec.tree(old)
            status = fresh(stored.get("status") or {})
            pod = {**stored, "metadata": dict(stored["metadata"]), "spec": dict(stored["spec"]), "status": status}
            if metadata.get("uid") and metadata["uid"] != pod["metadata"]["uid"]:
                raise failures.conflict(
                    call.codec.resource,
                    name,
                    f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: "
                    f"{pod['metadata']['uid']}",
                )
            _refuse_binding(name, pod)
            pod["spec"]["nodeName"] = node
            for extra in ("annotations", "labels"):
                if metadata.get(extra):
                    pod["metadata"][extra] = {**(pod["metadata"].get(extra) or {}), **metadata[extra]}
            now = rfc3339(self._services.clock.now())
            scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
            set_condition(pod, scheduled)
            return pod

        await self._writer.update(
            call.codec,
            target.namespace,
            name,
            build,
            call.user,
            call.warnings,
            subresource="binding",
            dry_run=options.dry_run,
        )
        return answers.body(_CREATED, call.representation, 201)

    async def _eviction(self, call: Call) -> Response:
        options = write_options(call.query, call.repeated, "CreateOptions")
        await self._evictions.evict(call, self._decoded(call, _EVICTION, options), options)
        return answers.body(_CREATED, call.representation, 201)

    async def _token(self, call: Call) -> Response:
        options = write_options(call.query, call.repeated, "CreateOptions")
        gvk = Gvk("authentication.k8s.io", "v1", "TokenRequest")
        wanted = self._decoded(call, gvk, options)
        assert call.target.namespace is not None
        assert call.target.name is not None
        account = self._services.storage.get(call.codec, call.target.namespace, call.target.name)
        issued = self._tokens.issue(call.codec.tree(account), wanted, call.warnings)
        return answers.tree(issued, gvk, call.representation, self._services.clock.now(), 201)

    def _decoded(self, call: Call, gvk: Gvk, options: WriteOptions) -> Tree:
        body = bodies.read_object(
            call.request.headers, call.request.body, gvk, strictness=options.field_validation or "Warn"
        )
        apply_defaults(gvk, body.tree)
        return body.tree


_CREATED: Final = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201}\n'


def _scale_of(parent: Tree) -> Tree:
    """Return the Scale of a workload (18.2)."""
    metadata = parent["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = _selector_of(parent)
    spec: Tree = {}
    if parent["spec"].get("replicas"):
        spec["replicas"] = parent["spec"]["replicas"]
    status: Tree = {"replicas": parent.get("status", {}).get("replicas", 0)}
    if text := str(selector):
        status["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": spec,
        "status": status,
    }


def _selector_of(parent: Tree) -> LabelSelector:
    """Return a workload's selector; that of a ReplicationController is a plain map."""
    selector = parent["spec"].get("selector")
    if parent.get("kind") == "ReplicationController":
        return label_selector_from_object({"matchLabels": selector or {}})
    return label_selector_from_object(selector)


def _scaled(call: Call, old: Stored, wanted: Tree, before: Tree) -> Tree:
    """Return the parent with the replicas a Scale asks for."""
    resource, metadata = call.codec.resource, wanted["metadata"]
    if metadata.get("resourceVersion") and metadata["resourceVersion"] != str(old.revision):
        raise failures.modified(resource, old.name)
    if metadata.get("uid") and metadata["uid"] != before["metadata"]["uid"]:
        stored = before["metadata"]["uid"]
        raise failures.storage_conflict(resource, old.name, call.target.namespace, metadata["uid"], stored)
    replicas = wanted.get("spec", {}).get("replicas", 0)
    if replicas < 0:
        cause = Cause(
            "FieldValueInvalid",
            f"Invalid value: {replicas}: must be greater than or equal to 0",
            "spec.replicas",
        )
        raise failures.invalid("Scale", "autoscaling", old.name, (cause,))
    parent = fresh(call.codec.tree(old))
    parent["spec"]["replicas"] = replicas
    return parent


def _check_binding(target: Mapping[str, Any]) -> None:
    """Refuse a target that is no node: a 500 without reason, as upstream answers it."""
    if target.get("kind", "") not in ("", "Node"):
        raise ApiError(f'target.kind: Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"')
    if not target.get("name"):
        raise ApiError("target.name: Required value")


def _refuse_binding(name: str, pod: Tree) -> None:
    why = ""
    if "deletionTimestamp" in pod["metadata"]:
        why = f"pod {name} is being deleted, cannot be assigned to a host"
    elif pod["spec"].get("nodeName"):
        why = f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"'
    elif pod["spec"].get("schedulingGates"):
        why = f"pod {name} has non-empty .spec.schedulingGates"
    if why:
        raise Conflict(
            f'Operation cannot be fulfilled on pods/binding "{name}": {why}', Details(name=name, kind="pods/binding")
        )
