"use strict";
// Draws the charts of this page from the values that stand in it, and answers its menus. Needs no network.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const root = document.documentElement;
const narrow = () => window.innerWidth < 600;
const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();

async function loadPlotly() {
  const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

// Text, and marks that have no colour of their own, take the page's.
function themed(print) {
  const ink = print ? "#000000" : color("--ink");
  return { layout: { "font.color": ink, "font.size": narrow() ? 11 : 13, "font.family": "system-ui, sans-serif",
    "hoverlabel.align": "left" }, ink };
}

function applyTheme(print = false) {
  const { layout, ink } = themed(print);
  for (const plot of document.querySelectorAll(".chart.drawn")) {
    const marks = plot.data.flatMap((trace, index) => (trace.meta === "ink" ? [index] : []));
    if (marks.length) Plotly.restyle(plot, { "marker.color": ink, "marker.line.color": ink }, marks);
    const bars = plot.data.flatMap((trace, index) => (trace.error_x || trace.error_y ? [index] : []));
    for (const axis of ["error_x", "error_y"]) {
      const some = bars.filter((index) => plot.data[index][axis]);
      if (some.length) Plotly.restyle(plot, { [`${axis}.color`]: ink }, some);
    }
    Plotly.relayout(plot, layout);
  }
}

function draw(place, data, layout) {
  // The buttons are named, since plotly's own choice has one that sends the data to a server.
  const config = { responsive: true, displaylogo: false, plotlyServerURL: "",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  return Plotly.newPlot(place, data, layout, config).then(() => place.classList.add("drawn"));
}

function answerMenus(chart, place) {
  for (const [name, options] of Object.entries(chart.menus)) {
    const menu = document.querySelector(`select[data-chart="${chart.name}"][data-menu="${name}"]`);
    menu.addEventListener("change", () => {
      const option = options[menu.selectedIndex];
      Plotly.update(place, option.data, option.layout);
    });
  }
}

// Training curves: a line and a band for each step that is ticked, of the chosen metric.
function curveTraces(curves, metric, chosen) {
  return curves.rows.flatMap((row, index) => {
    const curve = row.curves[metric];
    if (!chosen.has(index) || !curve) return [];
    const line = { type: "scatter", mode: "lines", name: row.label, x: curve.epochs, y: curve.mean,
      line: { color: row.color, dash: row.dash, width: 2 }, hovertemplate: "%{y:.4g}, epoch %{x}" };
    const band = { type: "scatter", mode: "lines", x: [...curve.epochs, ...curve.epochs.slice().reverse()],
      y: [...curve.high, ...curve.low.slice().reverse()], fill: "toself", fillcolor: row.band,
      line: { width: 0 }, hoverinfo: "skip", showlegend: false };
    return row.seeds > 1 ? [band, line] : [line];
  });
}

function drawCurves(curves) {
  const place = document.getElementById("chart-curves");
  const boxes = [...document.querySelectorAll("#curve-steps input")];
  const metric = document.querySelector('select[data-chart="curves"][data-menu="metric"]');
  const scale = document.querySelector('select[data-chart="curves"][data-menu="scale"]');
  const redraw = () => {
    const chosen = new Set(boxes.filter((box) => box.checked).map((box) => Number(box.value)));
    const layout = structuredClone(curves.layout);
    layout.yaxis.title.text = curves.metrics[metric.value];
    layout.yaxis.type = scale.value;
    layout.showlegend = false;
    const done = place.classList.contains("drawn");
    const traces = curveTraces(curves, metric.value, chosen);
    layout.font = { color: themed(false).ink, size: narrow() ? 11 : 13, family: "system-ui, sans-serif" };
    return done ? Plotly.react(place, traces, layout) : draw(place, traces, layout);
  };
  for (const control of [...boxes, metric, scale]) control.addEventListener("change", redraw);
  document.getElementById("all-steps").addEventListener("click", () => {
    const all = boxes.every((box) => box.checked);
    boxes.forEach((box) => { box.checked = !all; });
    redraw();
  });
  return redraw();
}

async function main() {
  await loadPlotly();
  const charts = read("chart-values");
  const curves = read("curve-values");
  await Promise.all(charts.map((chart) => {
    const place = document.getElementById(`chart-${chart.name}`);
    answerMenus(chart, place);
    return draw(place, chart.data, chart.layout);
  }));
  if (curves) await drawCurves(curves);
  applyTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => applyTheme());
  window.addEventListener("beforeprint", () => applyTheme(true));
  window.addEventListener("afterprint", () => applyTheme());
  document.getElementById("theme").addEventListener("click", () => {
    const dark = color("--page") !== "#ffffff";
    root.dataset.theme = dark ? "light" : "dark";
    applyTheme();
  });
  root.dataset.ready = "yes";
}

main().catch((error) => {
  document.getElementById("problem").textContent = `The charts cannot be drawn: ${error}`;
  throw error;
});
