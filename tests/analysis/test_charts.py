"""The charts show the rows' values, in plotly.js's terms, and escape every name."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_rows import Write, rows_of

from roadmap.analysis.curves import Curve, Record, curve_payload, pool_records, read_epochs, thin
from roadmap.analysis.report.ablation_chart import effect_chart
from roadmap.analysis.report.charts import curve_chart, hover_text, roadmap_chart, shortened, waterfall_chart
from roadmap.analysis.report.cost_chart import cost_chart, pareto_front, point_name
from roadmap.analysis.significance import RowStats, compute_row_stats

DRAW: tuple[Any, ...] = (roadmap_chart, waterfall_chart, cost_chart, curve_chart)


def row_stats(tmp_path: Path) -> list[RowStats]:
    return compute_row_stats(rows_of(tmp_path))


@pytest.mark.parametrize("draw", DRAW, ids=lambda draw: draw.__name__)
def test_plotly_knows_every_word_of_a_chart(tmp_path: Path, write_paper_runs: Write, draw: Any) -> None:
    write_paper_runs(seeds=2)
    chart = draw(row_stats(tmp_path), False)
    go.Figure(chart.data, chart.layout)  # raises for an unknown property or an invalid value
    for options in chart.menus.values():
        for option in options:
            figure = go.Figure(chart.data, chart.layout)
            for index, trace in enumerate(figure.data):
                trace.update({key: values[index] for key, values in option.data.items()})
            figure.update_layout({key.replace(".", "_"): value for key, value in option.layout.items()})


def test_bars_end_at_the_mean_and_variants_are_hatched(tmp_path: Path, write_paper_runs: Write) -> None:
    write_paper_runs(seeds=2)
    rows = row_stats(tmp_path)
    bars, seeds, paper = roadmap_chart(rows, False).data
    assert [bars["base"] + x for x in bars["x"]] == pytest.approx(
        [one.estimate.mean for one in rows if one.estimate]
    )
    assert [shape == "/" for shape in bars["marker"]["pattern"]["shape"]] == [bool(one.row.variant) for one in rows]
    assert len(seeds["x"]) == 2 * len(rows)
    assert paper["x"] == [one.row.paper.top1 for one in rows if one.row.paper]


def test_what_has_no_result_is_named_in_its_place(tmp_path: Path, write_run: Write) -> None:
    for step in ("step0_resnet", "step2_patchify"):
        write_run(step)
    write_run("step1_stage_ratio", state="pending")
    (missing,) = [one for one in roadmap_chart(row_stats(tmp_path), False).layout["annotations"] if one["y"] == 1]
    assert missing["text"] == "no finished run (1 unfinished)"


def test_the_waterfall_leads_from_each_mean_to_the_next(tmp_path: Path, write_run: Write) -> None:
    for step, values in (("step0_resnet", [80.0, 80.2, 80.4]), ("step1_stage_ratio", [82.0, 82.21, 82.39])):
        for seed, top1 in enumerate(values):
            write_run(step, seed, top1)
    write_run("step2_patchify", 0, 81.0)
    chart = waterfall_chart(row_stats(tmp_path), False)
    assert chart is not None
    gain, other = chart.data
    assert (gain["name"], gain["base"], gain["x"]) == ("gain", [pytest.approx(80.2)], [pytest.approx(2.0)])
    assert (other["name"], other["error_x"]["array"]) == ("not significant", [0.0])  # one seed: no interval
    assert other["base"][0] + other["x"][0] == pytest.approx(81.0)
    assert chart.layout["yaxis"]["ticktext"][0] == "label of step1_stage_ratio +2.00 "


def test_no_name_becomes_markup(tmp_path: Path, write_run: Write) -> None:
    hostile = '<script>alert(1)</script><a href="javascript:alert(2)">x</a>'
    for step in ("step6_move_up", "step7_kernel"):
        write_run(step, label=hostile)
    write_run("step7_kernel", variant={"kernel_size": "9", "norm": "<img src=x>"}, label=hostile)
    write_run("step7_kernel", variant={"kernel_size": "5"}, label=hostile)
    rows = row_stats(tmp_path)
    curves = [{"top1": Curve([1], [1.0], [1.0], [1.0])} for _ in rows]
    payload = curve_payload(rows, curves, [1] * len(rows))
    assert payload is not None
    drawn = [asdict(chart) for draw in DRAW if (chart := draw(rows, False))]
    assert len(drawn) == 4
    for row in payload["rows"]:
        del row["plain"]  # for the template, which escapes it
    text = json.dumps([drawn, payload]).lower()
    for tag in ("<script", "<img", "<a "):
        assert tag not in text
    assert "&lt;script&gt;" in text


points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


@given(points, st.booleans())
def test_the_front_holds_what_nothing_beats(found: list[tuple[int, int]], less_is_better: bool) -> None:
    sign = 1 if less_is_better else -1

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return sign * a[0] <= sign * b[0] and a[1] >= b[1] and a != b

    expected = {point for point in found if not any(beats(other, point) for other in found)}
    front = pareto_front(found, less_is_better)
    assert sorted(front) == sorted(expected)


def test_networks_that_are_faster_count_as_cheaper(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet", top1=80.0, images_per_s=100.0, gmacs=1.0)
    write_run("step1_stage_ratio", top1=82.0, images_per_s=50.0, gmacs=2.0)
    write_run("step2_patchify", top1=79.0, images_per_s=70.0, gmacs=1.5)
    chart = cost_chart(row_stats(tmp_path), False)
    assert chart is not None
    by_cost = {option.label: option.data["x"][0] for option in chart.menus["cost"]}
    assert by_cost["GMACs an image"] == [1.0, 2.0]
    assert by_cost["images/s in training, measured"] == [100.0, 50.0]


def test_a_point_is_named_by_its_step_and_choices(tmp_path: Path, write_run: Write) -> None:
    """A kernel size is short; a value of another roadmap's curve keeps its key."""
    for variant in ({}, {"kernel_size": "9"}, {"norm": "layernorm"}):
        write_run("step7_kernel", variant=variant)
    rows = rows_of(tmp_path)
    assert {point_name(row) for row in rows} == {"7", "7 k9", "7 norm=layernorm"}
    other = replace(rows[0].roadmap, curve="step11_layernorm")
    assert {point_name(replace(row, roadmap=other)) for row in rows} == {"7", "7 kernel_size=9", "7 norm=layernorm"}


def test_an_unknown_number_of_parameters_is_left_out(tmp_path: Path, write_run: Write) -> None:
    write_run()
    (row,) = rows_of(tmp_path)
    known, unknown = (
        hover_text(one, best=False) for one in compute_row_stats([row, replace(row, parameters=None)])
    )
    assert "0.250 GMACs, 0.31 M parameters" in known
    assert "parameters" not in unknown


def test_many_variants_are_named_by_pointing_at_them_alone(tmp_path: Path, write_run: Write) -> None:
    def names() -> list[str]:
        chart = cost_chart(row_stats(tmp_path), False)
        assert chart is not None
        return [name.strip() for name in chart.data[1]["customdata"] if name]

    write_run("step12_downsample")
    for number in range(6):
        write_run("step12_downsample", variant={"drop_path": str(number)})
    assert len(names()) == 7
    write_run("step12_downsample", variant={"drop_path": "6"})
    assert names() == ["12"]


def test_curves_average_the_seeds_that_reached_an_epoch(tmp_path: Path) -> None:
    for seed, lines in enumerate(
        [
            '{"epoch": 1, "top1": 10.0, "loss": NaN}\n{"epoch": 2, "top1": 20.0}\n',
            '{"epoch": 1, "top1": 30.0}\n{"epo',
        ]
    ):
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / "metrics.jsonl").write_text(lines)
    epochs = [read_epochs(tmp_path / str(seed)) for seed in range(3)]
    curves = pool_records([record(one, seed) for seed, one in enumerate(epochs)])
    assert curves == {"top1": Curve([1, 2], [20.0, 20.0], [10.0, 20.0], [30.0, 20.0])}


def record(epochs: dict[int, dict[str, float]], seed: int = 0) -> Record:
    return Record("step0_resnet", ("micro", "digits", "short"), (seed,), epochs, epochs, epochs)


def test_seeds_that_are_known_together_count_as_many() -> None:
    three = Record("step0_resnet", (), (0, 1, 2), *({1: {"top1": top1}} for top1 in (20.0, 10.0, 40.0)))
    curves = pool_records([three, record({1: {"top1": 60.0}}, seed=3)])
    assert curves == {"top1": Curve([1], [30.0], [10.0], [60.0])}


def test_a_damaged_line_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"epoch": 1, "top1": 10.0}\nnonsense\n[3]\n{"epoch": 3, "top1": 30.0}\n'
    )
    assert sorted(read_epochs(tmp_path)) == [1, 3]
    assert "line 2 cannot be read" in caplog.text
    assert "line 3 cannot be read" in caplog.text


def test_long_curves_keep_their_last_epoch(tmp_path: Path) -> None:
    curve = thin(pool_records([record({epoch: {"top1": float(epoch)} for epoch in range(1, 602)})])["top1"])
    assert len(curve.epochs) <= 151
    assert (curve.epochs[0], curve.epochs[-1]) == (1, 601)


def test_choices_are_drawn_once_a_network_off_the_path_ran(tmp_path: Path, write_run: Write) -> None:
    for seed in range(2):
        write_run("step11_layernorm", seed, 85.0 + seed)
        write_run("step12_downsample", seed, 86.0 + seed)
    assert effect_chart([one.row for one in row_stats(tmp_path)], False) is None
    for seed in range(2):
        write_run("step12_downsample", seed, 84.0 + 1.5 * seed, variant={"norm": "batchnorm"})
    chart = effect_chart([one.row for one in row_stats(tmp_path)], False)
    assert chart is not None
    go.Figure(chart.data, chart.layout)
    assert chart.layout["yaxis"]["ticktext"] == ["norm ", "downsample "]
    path, back = chart.data
    assert path["x"] == [1.0]
    assert back["x"] == [pytest.approx(1.75), 1.0]
    reaches = path["error_x"]["array"] + back["error_x"]["array"]
    assert len(set(reaches)) == 1  # by the pooled standard deviation
    assert reaches[0] > 0
    assert back["marker"]["symbol"] == ["diamond", "diamond-open"]  # 1.75 points are significant, 1.0 are not


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("move up depthwise conv", "move up depthwise conv"),
        ("separate downsampling, stem=resnet", "separate dow… stem=resnet"),
        ("separate downsampling, activation_count=all", "sep… activation_count=all"),
        ("separate downsampling, norm=batchnorm, stem=resnet", "s… =batchnorm, stem=resnet"),
        ("a step of my own with a long label", "a step of my own with a l…"),
    ],
)
def test_a_long_label_keeps_its_variant(label: str, shown: str) -> None:
    assert shortened(label) == shown
    assert len(shown) <= 26
