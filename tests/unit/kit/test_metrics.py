"""The text that monitoring reads: nothing that is put into it ends its line."""

from pinnace.kit import metrics


def test_families_and_histograms() -> None:
    text = metrics.Text()
    text.family("a_total", "counter", "Of a.", [({"x": "1", "y": "2"}, 3), (metrics.NO_LABELS, 1.5)])
    text.family("b", "gauge", "Of b.", [(metrics.NO_LABELS, 2.0)], stamp=7)
    text.family("none", "gauge", "Of nothing.", [])
    text.histogram("c", "Of c.", (0.1, 2), [({"x": "1"}, [1, 0, 2], 9.25)])
    assert text.render().splitlines() == [
        "# HELP a_total Of a.",
        "# TYPE a_total counter",
        'a_total{x="1",y="2"} 3',
        "a_total 1.5",
        "# HELP b Of b.",
        "# TYPE b gauge",
        "b 2 7",
        "# HELP c Of c.",
        "# TYPE c histogram",
        'c_bucket{x="1",le="0.1"} 1',
        'c_bucket{x="1",le="2"} 1',
        'c_bucket{x="1",le="+Inf"} 3',
        'c_sum{x="1"} 9.250000',
        'c_count{x="1"} 3',
    ]


def test_values_of_labels_and_helps_cannot_write_lines_of_their_own() -> None:
    text = metrics.Text()
    text.family("a", "gauge", "One\nforged 1", [({"x": 'y"} 1\nforged{z="\\'}, 0)])
    assert text.render() == '# HELP a One\\nforged 1\n# TYPE a gauge\na{x="y\\"} 1\\nforged{z=\\"\\\\"} 0\n'
