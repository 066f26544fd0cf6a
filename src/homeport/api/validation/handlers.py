"""Rules of probes and lifecycle hooks, and of the handlers both use."""

from typing import Any, Final

from homeport.api.validation import addresses, names
from homeport.api.validation.errors import FieldError, forbidden, not_supported, refused, required

__all__ = ["PROBES", "validate_lifecycle", "validate_probe"]

Tree = dict[str, Any]

PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
WINDOWS_SIGNALS: Final = ("SIGKILL", "SIGTERM")
_SIGNAL_NAMES: Final = (
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
    "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
)  # fmt: skip
_REAL_TIME: Final = [f"RTMIN+{step}" for step in range(1, 16)] + [f"RTMAX-{step}" for step in range(1, 15)]
LINUX_SIGNALS: Final = tuple(sorted(f"SIG{name}" for name in (*_SIGNAL_NAMES, *_REAL_TIME)))
SCHEMES: Final = ("HTTP", "HTTPS")


def validate_probe(probe: Tree, kind: str, grace: int, path: str) -> list[FieldError]:
    errors = _handler(probe, path, grace)
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        value = probe.get(field, 0)
        if value < 0:
            errors.append(refused(f"{path}.{field}", value, "must be greater than or equal to 0"))
    seconds = probe.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds <= 0:
        errors.append(refused(f"{path}.terminationGracePeriodSeconds", seconds, "must be greater than 0"))
    if kind == "readinessProbe":
        if seconds is not None:
            text = "must not be set for readinessProbes"
            errors.append(refused(f"{path}.terminationGracePeriodSeconds", seconds, text))
    elif probe.get("successThreshold", 1) != 1:
        errors.append(refused(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))
    return errors


def validate_lifecycle(lifecycle: Tree, grace: int, path: str, *, system: str) -> list[FieldError]:
    """Check hooks and stop signal; `system` is the pod's operating system, if it says."""
    errors: list[FieldError] = []
    for hook in ("postStart", "preStop"):
        if hook in lifecycle:
            errors += _handler(lifecycle[hook], f"{path}.{hook}", grace)
    if (signal := lifecycle.get("stopSignal")) is not None:
        here = f"{path}.stopSignal"
        if not system:
            errors.append(forbidden(here, "may not be set for containers with empty `spec.os.name`"))
        elif system == "linux" and signal not in LINUX_SIGNALS:
            errors.append(not_supported(here, signal, LINUX_SIGNALS))
        elif system == "windows" and signal not in WINDOWS_SIGNALS:
            errors.append(not_supported(here, signal, WINDOWS_SIGNALS))
    return errors


def _handler(handler: Tree, path: str, grace: int) -> list[FieldError]:
    """Check that exactly one handler is given, and that one."""
    errors: list[FieldError] = []
    found = 0
    for kind in ("exec", "httpGet", "tcpSocket", "grpc", "sleep"):
        if kind not in handler:
            continue
        here = f"{path}.{kind}"
        found += 1
        if found > 1:
            errors.append(forbidden(here, "may not specify more than 1 handler type"))
            continue
        action = handler[kind]
        match kind:
            case "exec":
                if not action.get("command"):
                    errors.append(required(f"{here}.command"))
            case "httpGet":
                errors += _http_get(action, here)
            case "tcpSocket":
                errors += _port(action["port"], f"{here}.port")
            case "grpc":
                errors += [refused(f"{here}.port", action["port"], p) for p in addresses.port_number(action["port"])]
            case "sleep":
                seconds = action["seconds"]
                if not 0 <= seconds <= grace:
                    text = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                    errors.append(refused(here, seconds, text))
    if not found:
        errors.append(required(path, "must specify a handler type"))
    return errors


def _http_get(action: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not action.get("path"):
        errors.append(required(f"{path}.path"))
    errors += _port(action["port"], f"{path}.port")
    scheme = action.get("scheme", "")
    if scheme not in SCHEMES:
        errors.append(not_supported(f"{path}.scheme", scheme, SCHEMES))
    for header in action.get("httpHeaders", ()):
        name = header.get("name", "")
        if not name or not all(char.isascii() and (char.isalnum() or char == "-") for char in name):
            text = (
                "a valid HTTP header must consist of alphanumeric characters or '-' "
                "(e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
            )
            errors.append(refused(f"{path}.httpHeaders", name, text))
    return errors


def _port(port: int | str, path: str) -> list[FieldError]:
    if isinstance(port, int):
        return [refused(path, port, problem) for problem in addresses.port_number(port)]
    return [refused(path, port, problem) for problem in names.port_name(port)]
