"""Questions about users and permissions: answered from what the server knows, never stored (api-machinery 20.9)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from homeport.api.exchange import Response, User
from homeport.clock import rfc3339
from homeport.errors import BadRequest, Cause, NotAcceptable, Unauthorized
from homeport.server import answers, bodies, failures
from homeport.server.authentication import Authentication, signed_in
from homeport.server.authorization import Action, Authorizer
from homeport.server.negotiation import Form
from homeport.server.objects import Tree
from homeport.server.options import write_options
from homeport.server.rbac import Rbac
from homeport.server.services import Call, Services

__all__ = ["Reviews"]

_REFUSED: Final = (
    "only the following media types are accepted: application/json, application/yaml, "
    "application/vnd.kubernetes.protobuf"
)
_EVERYTHING: Final[Tree] = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}


class Reviews:
    """One answer per kind of question."""

    def __init__(self, services: Services, authentication: Authentication, authorizer: Authorizer) -> None:
        self._services, self._authentication, self._authorizer = services, authentication, authorizer
        self._by_kind: Mapping[str, Callable[[Call, Tree], Tree]] = {
            "SelfSubjectReview": self._whoami,
            "TokenReview": self._token,
            "SelfSubjectAccessReview": self._may_i,
            "SubjectAccessReview": self._may_they,
            "LocalSubjectAccessReview": self._may_they,
            "SelfSubjectRulesReview": self._rules,
        }

    def answer(self, call: Call) -> Response:
        """Return the question with its `status`. Raises BadRequest, Invalid, NotAcceptable."""
        if call.representation.form is not Form.PLAIN:
            raise NotAcceptable(_REFUSED)
        options = write_options(call.query, call.repeated, "CreateOptions")
        body = bodies.read_object(
            call.request.headers, call.request.body, call.gvk, strictness=options.field_validation or "Warn"
        )
        call.warnings.extend(body.findings)
        question = body.tree
        status = self._by_kind[call.gvk.kind](call, question)
        answered = {**question, "status": status}
        return answers.tree(answered, call.gvk, call.representation, self._services.clock.now(), 201)

    def _whoami(self, call: Call, question: Tree) -> Tree:
        question["metadata"]["creationTimestamp"] = rfc3339(self._services.clock.now())
        return {"userInfo": _user_info(call.user)}

    def _token(self, call: Call, question: Tree) -> Tree:
        spec = question["spec"]
        token = spec.get("token", "")
        if not token:
            raise BadRequest("token is required for TokenReview in authentication")
        audiences = tuple(spec.get("audiences") or ())
        try:
            user = self._authentication.bearer(token, audiences)
        except Unauthorized:
            return {"user": {}, "error": "[invalid bearer token]"}
        return {
            "authenticated": True,
            "user": _user_info(user),
            "audiences": list(audiences) or [self._services.settings.issuer],
        }

    def _may_i(self, call: Call, question: Tree) -> Tree:
        return self._decided(call.user, _action(call, question["spec"]))

    def _may_they(self, call: Call, question: Tree) -> Tree:
        spec = question["spec"]
        attributes = spec.get("resourceAttributes") or {}
        if call.target.namespace and attributes.get("namespace", "") != call.target.namespace:
            raise _invalid(call, "spec.resourceAttributes.namespace", attributes.get("namespace", ""))
        action = _action(call, spec)
        if not spec.get("user") and not spec.get("groups"):
            cause = Cause(
                "FieldValueInvalid", 'Invalid value: "": at least one of user or group must be specified', "spec.user"
            )
            raise failures.invalid("", call.gvk.group, "", (cause,))
        extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
        user = User(spec.get("user", ""), spec.get("uid", ""), tuple(spec.get("groups") or ()), extra)
        return self._decided(user, action)

    def _rules(self, call: Call, question: Tree) -> Tree:
        if not question["spec"].get("namespace"):
            raise BadRequest("no namespace on request")
        namespace = question["spec"]["namespace"]
        question["spec"] = {}
        if not isinstance(self._authorizer, Rbac):
            return _EVERYTHING
        rules = [rule.written() for rule in self._authorizer.rules(call.user, namespace)]
        return {
            "resourceRules": [rule for rule in rules if "nonResourceURLs" not in rule],
            "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
            "incomplete": False,
        }

    def _decided(self, user: User, action: Action) -> Tree:
        decision = self._authorizer.decide(user, action)
        return {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}


def _invalid(call: Call, field: str, value: str) -> Exception:
    cause = Cause("FieldValueInvalid", f'Invalid value: "{value}": must match metadata.namespace', field)
    return failures.invalid("", call.gvk.group, "", (cause,))


def _action(call: Call, spec: Mapping[str, Any]) -> Action:
    """Return the action asked about; exactly one kind of attributes must be there."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        both = resource is not None
        why = (
            "cannot be specified in combination with resourceAttributes"
            if both
            else "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        )
        field = "spec.nonResourceAttributes" if both else "spec.resourceAttributes"
        cause = Cause("FieldValueInvalid", f"Invalid value: null: {why}", field)
        raise failures.invalid("", call.gvk.group, "", (cause,))
    if path is not None:
        return Action(path.get("verb", ""), path=path.get("path", ""))
    assert resource is not None
    return Action(
        resource.get("verb", ""),
        resource.get("group", ""),
        resource.get("resource", ""),
        resource.get("subresource", ""),
        resource.get("namespace", ""),
        resource.get("name", ""),
    )


def _user_info(user: User) -> Tree:
    known = signed_in(user)
    named = (("username", known.name), ("uid", known.uid), ("groups", list(known.groups)))
    info: Tree = {key: value for key, value in named if value}
    if known.extra:
        info["extra"] = {key: list(values) for key, values in known.extra.items()}
    return info
