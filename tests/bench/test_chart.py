"""A result becomes a well-formed picture that shows every number of it."""

from xml.etree import ElementTree

from bench.chart import svg


def test_every_number_is_shown_and_runs_are_not() -> None:
    figures = {
        "ratio": 1.05,
        "rate": {"ours <fast>": 141000, "limit": 134000},
        "rounds": {"ours": [1, 2]},
        "on": {"x": 1},
    }
    root = ElementTree.fromstring(svg("dns", figures))
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "141,000" in texts
    assert "1.05" in texts
    assert "ours <fast>" in texts
    assert not any("rounds" in text for text in texts)


def test_figures_by_size_are_grouped_by_figure() -> None:
    figures = {"zones": {"10": {"rate": {"a": 5, "b": 6}, "cost": 1}, "1000": {"rate": {"a": 7, "b": 8}, "cost": 2}}}
    root = ElementTree.fromstring(svg("dns", figures))
    titles = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text") if e.get("class") == "g"]
    assert titles == ["dns: zones: rate: a", "dns: zones: rate: b", "dns: zones: cost"]
