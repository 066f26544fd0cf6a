import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.api.quantity import Quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"), ("0Gi", "0"), ("-0", "0"), ("100m", "100m"), ("0.1", "100m"), ("1000m", "1"), ("1.5", "1500m"),
        ("1.5Gi", "1536Mi"), ("1024Mi", "1Gi"), ("1Ki", "1Ki"), ("0.5Ki", "512"), ("1000Ki", "1000Ki"),
        ("512", "512"), ("1000", "1k"),
        ("1500", "1500"), ("12e6", "12e6"), ("1e3", "1e3"), ("1E3", "1e3"), ("2E", "2E"),
        ("1e-1", "100e-3"), ("100000n", "100u"), ("0.1n", "1n"), ("-0.1n", "-1n"), ("+5", "5"), (".5", "500m"),
        ("1.", "1"), ("1.0000000001Gi", "1073741824107374183n"), ("100E", "9223372036854775807"), ("-1Mi", "-1Mi"),
    ],
)  # fmt: skip
def test_the_canonical_form(text: str, canonical: str) -> None:
    quantity = parse_quantity(text)
    assert str(quantity) == canonical
    assert parse_quantity(canonical) == quantity


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "regular expression"), ("abc", "regular expression"), ("1 ", "regular expression"),
        ("1ki", "suffix"), ("1KiB", "regular expression"), ("1mm", "suffix"), ("1.2.3", "suffix"),
    ],
)  # fmt: skip
def test_what_is_no_quantity_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_quantity(text)


def test_values_compare_and_add_whatever_their_notation() -> None:
    assert parse_quantity("1Gi") == parse_quantity("1024Mi")
    assert hash(parse_quantity("1")) == hash(parse_quantity("1000m"))
    assert parse_quantity("1G") < parse_quantity("1Gi")
    assert str(parse_quantity("500m") + parse_quantity("1")) == "1500m"
    assert str(parse_quantity("0") + parse_quantity("1Gi")) == "1Gi"
    assert str(parse_quantity("2Gi") - parse_quantity("1Gi")) == "1Gi"
    assert (parse_quantity("1.1").value, parse_quantity("-1.1").value, parse_quantity("1.1").milli) == (2, -2, 1100)
    assert parse_quantity("0.0001").milli == 1
    assert not parse_quantity("0m")
    assert str(Quantity.of(3)) == "3"


@given(st.integers(-(10**15), 10**15), st.sampled_from(["", "n", "u", "m", "k", "M", "Ki", "Mi", "Gi", "e3", "e-6"]))
def test_the_canonical_form_keeps_the_value(number: int, suffix: str) -> None:
    quantity = parse_quantity(f"{number}{suffix}")
    assert parse_quantity(str(quantity)) == quantity
    assert str(parse_quantity(str(quantity))) == str(quantity)
