"""ServiceAccount `default` and ConfigMap `kube-root-ca.crt` in every active namespace, put back when lost or edited.

Source: workloads 18 of the specification.
"""

from collections.abc import Callable
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.informer import InformerFactory
from homeport.client.queue import WorkQueue
from homeport.controllers.outcome import namespace_is_terminating
from homeport.errors import AlreadyExists, ApiError, NotFound

__all__ = ["CA_DESCRIPTION", "CA_NAME", "NamespaceFurnisher", "account_body", "ca_body"]

NAMESPACES = find("Namespace")
ACCOUNTS = find("ServiceAccount")
CONFIG_MAPS = find("ConfigMap")

ACCOUNT_NAME: Final = "default"
CA_NAME: Final = "kube-root-ca.crt"
CA_KEY: Final = "ca.crt"
CA_DESCRIPTION: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def account_body(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": ACCOUNT_NAME, "namespace": namespace},
    }


def ca_body(namespace: str, bundle: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CA_NAME,
            "namespace": namespace,
            "annotations": {"kubernetes.io/description": CA_DESCRIPTION},
        },
        "data": {CA_KEY: bundle},
    }


class NamespaceFurnisher:
    """Keeps both objects in place. Namespace names are its keys.

    ca_bundle  PEM text of the certificates that signed the API server's.
    """

    component = "service-account-controller"

    def __init__(self, client: Client, informers: InformerFactory, ca_bundle: str) -> None:
        self._client, self._bundle = client, ca_bundle
        self._queue: WorkQueue[str] = WorkQueue(self.component)
        self._namespaces = informers.informer(NAMESPACES)
        self._accounts = informers.informer(ACCOUNTS)
        self._config_maps = informers.informer(CONFIG_MAPS)
        self._namespaces.on_change(lambda namespace: self._queue.add(namespace["metadata"]["name"]))
        self._accounts.add_handler(delete=self._lost(ACCOUNT_NAME))
        self._config_maps.add_handler(update=lambda _, new: self._lost(CA_NAME)(new), delete=self._lost(CA_NAME))

    async def run(self) -> None:
        """Furnish namespaces; ends by cancellation only."""
        for informer in (self._namespaces, self._accounts, self._config_maps):
            await informer.synced.wait()
        await self._queue.process(self.sync, workers=2)

    async def sync(self, name: str) -> None:
        """Put into one namespace what it lacks. Raises ApiError to be called again."""
        namespace = self._namespaces.get(None, name)
        if namespace is None or "deletionTimestamp" in namespace["metadata"]:
            return
        if self._accounts.get(name, ACCOUNT_NAME) is None:
            await self._create(account_body(name))
        bundle = self._config_maps.get(name, CA_NAME)
        if bundle is None:
            await self._create(ca_body(name, self._bundle))
        elif bundle.get("data") != {CA_KEY: self._bundle}:
            await self._client.update(CONFIG_MAPS, {**bundle, "data": {CA_KEY: self._bundle}})

    async def _create(self, body: Object) -> None:
        resource = ACCOUNTS if body["kind"] == ACCOUNTS.kind else CONFIG_MAPS
        try:
            await self._client.create(resource, body)
        except (AlreadyExists, NotFound):
            return  # it came in between, or the namespace went
        except ApiError as error:
            if not namespace_is_terminating(error):
                raise

    def _lost(self, name: str) -> Callable[[Object], None]:
        def changed(obj: Object) -> None:
            if obj["metadata"]["name"] == name:
                self._queue.add(obj["metadata"]["namespace"])

        return changed
