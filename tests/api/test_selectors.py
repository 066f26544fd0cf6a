import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.api.resources import Gvk
from homeport.api.selectors import (
    NOTHING,
    label_selector_from_object,
    parse_field_selector,
    parse_label_selector,
)
from homeport.errors import BadRequest

OBJECTS = {
    "a": {"app": "web", "tier": "5"},
    "b": {"app": "web"},
    "c": {"app": "db", "tier": "9"},
    "d": {"app": ""},
    "e": {},
}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", "abcde"),
        ("app=web", "ab"),
        ("app==web", "ab"),
        ("app!=web", "cde"),
        ("app", "abcd"),
        ("!tier", "bde"),
        ("app in (web,db)", "abc"),
        ("app in ()", "d"),
        ("app in (,db)", "cd"),
        ("app in (db,)", "cd"),
        ("app in (db,,web)", "abcd"),
        ("app notin (web)", "cde"),
        ("tier>5", "c"),
        ("tier<6", "a"),
        ("app>5", ""),
        ("app=", "d"),
        ("app=,tier", ""),
        ("app=web,app=db", ""),
        (" app  in ( web , db ) , tier ", "ac"),
        ("in in (a)", ""),
        ("notin", ""),
        ("app=in", ""),
        ("example.com/app=web", ""),
    ],
)
def test_a_label_selector_means(selector: str, expected: str) -> None:
    compiled = parse_label_selector(selector)
    assert "".join(name for name, labels in OBJECTS.items() if compiled.matches(labels)) == expected
    again = parse_label_selector(str(compiled))
    assert [again.matches(labels) for labels in OBJECTS.values()] == [
        compiled.matches(labels) for labels in OBJECTS.values()
    ]


NAME = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    " (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    " '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("a b=c", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in", "unable to parse requirement: found '' expected: '('"),
        ("a in web", "unable to parse requirement: found 'web' expected: '('"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (!", "unable to parse requirement: found '!', expected: ',', ')' or identifier"),
        ("a=!b", "unable to parse requirement: found '!', expected: identifier"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!!a", "unable to parse requirement: found '!', expected: identifier"),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must"
            " be an integer",
        ),
        ("a=-x-", f'unable to parse requirement: values[0][a]: Invalid value: "-x-": {VALUE}'),
        ("-a", f'unable to parse requirement: <nil>: Invalid value: "-a": name part {NAME}'),
        (
            "/a",
            'unable to parse requirement: <nil>: Invalid value: "/a": prefix part must be non-empty',
        ),
        (
            "a=" + "x" * 64,
            f'unable to parse requirement: values[0][a]: Invalid value: "{"x" * 64}": must be no more than 63 bytes',
        ),
    ],
)
def test_a_bad_label_selector_is_refused_with_the_servers_words(selector: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_label_selector(selector)
    assert refused.value.message == message


@given(st.text(alphabet="ab!=,()<> in/-", max_size=20))
def test_any_text_is_a_selector_or_a_bad_request(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except BadRequest:
        return
    assert str(parse_label_selector(str(selector))) == str(selector)


def test_selector_objects() -> None:
    assert label_selector_from_object(None) is NOTHING
    assert not NOTHING.matches({"a": "b"})
    assert label_selector_from_object({}).matches({})
    selector = label_selector_from_object(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["9", "5"]},
                {"key": "canary", "operator": "DoesNotExist"},
                {"key": "zone", "operator": "NotIn", "values": ["x"]},
                {"key": "app", "operator": "Exists"},
            ],
        }
    )
    assert str(selector) == "app=web,app,!canary,tier in (5,9),zone notin (x)"
    assert selector.matches({"app": "web", "tier": "5"})
    assert not selector.matches({"app": "web", "tier": "5", "canary": ""})
    assert not selector.matches(None)
    with pytest.raises(BadRequest, match="not a valid label selector operator"):
        label_selector_from_object({"matchExpressions": [{"key": "a", "operator": "Gt"}]})


POD = Gvk("", "v1", "Pod")
PODS = {
    "a": {
        "metadata": {"name": "a", "namespace": "n"},
        "spec": {"nodeName": "n1", "hostNetwork": True, "restartPolicy": "Always"},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.244.0.9"}]},
    },
    "b": {"metadata": {"name": "b", "namespace": "n"}, "spec": {"restartPolicy": "Never"}},
}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", "ab"),
        ("metadata.name!=a", "b"),
        ("metadata.name=a,spec.nodeName=n1", "a"),
        ("metadata.namespace==n", "ab"),
        ("spec.nodeName=", "b"),
        ("spec.nodeName!=n1", "b"),
        ("spec.host=n1", "a"),
        ("spec.hostNetwork=true", "a"),
        ("spec.hostNetwork=false", "b"),
        ("status.phase!=Running", "b"),
        ("status.podIP=10.244.0.9", "a"),
        ("spec.restartPolicy=Never,", "b"),
        (r"spec.schedulerName=a\,b\=c\\", ""),
    ],
)
def test_a_field_selector_means(selector: str, expected: str) -> None:
    compiled = parse_field_selector(selector, POD)
    assert "".join(name for name, pod in PODS.items() if compiled.matches(pod)) == expected


@pytest.mark.parametrize(
    ("kind", "selector", "message"),
    [
        (POD, "spec.priority=0", "field label not supported: spec.priority"),
        (POD, "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        (POD, r"metadata.name=a\b", r"invalid field selector: invalid escape sequence: \b"),
        (POD, "metadata.name=a\\", "invalid field selector: invalid escape sequence: \\"),
        (POD, "metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
        (
            Gvk("", "v1", "ConfigMap"),
            "data.a=b",
            '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        (
            Gvk("batch", "v1", "Job"),
            "spec.parallelism=1",
            'field label "spec.parallelism" not supported for Job',
        ),
        (Gvk("", "v1", "Namespace"), "metadata.namespace=x", "field label not supported: metadata.namespace"),
        (Gvk("events.k8s.io", "v1", "Event"), "source=x", "field label not supported: source"),
    ],
)
def test_a_bad_field_selector_is_refused_with_the_servers_words(kind: Gvk, selector: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_field_selector(selector, kind)
    assert refused.value.message == message


def test_events_are_selected_alike_through_both_apis() -> None:
    core = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "web-0"},
        "source": {"component": "kubelet"},
        "type": "Normal",
        "reason": "Started",
    }
    old = parse_field_selector("involvedObject.name=web-0,source=kubelet,reason=Started", Gvk("", "v1", "Event"))
    new = parse_field_selector("regarding.kind=Pod,type!=Warning", Gvk("events.k8s.io", "v1", "Event"))
    assert old.matches(core)
    assert new.matches({**core, "regarding": core["involvedObject"]})
    assert old.required("involvedObject.name") == "web-0"
    assert old.required("type") is None


def test_custom_resources_offer_the_fields_they_declare() -> None:
    selector = parse_field_selector("spec.color=red", Gvk("example.com", "v1", "Wheel"), (".spec.color",))
    assert selector.matches({"spec": {"color": "red"}})
    assert not selector.matches({"spec": {}})
