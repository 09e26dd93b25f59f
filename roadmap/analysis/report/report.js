"use strict";
// Draws the charts of this page from the values that stand in it, and answers its menus. Needs no network.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const root = document.documentElement;
const narrow = () => window.innerWidth < 600;
const isDark = () => color("--page") !== "#ffffff";
const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();

const SLIDE = { width: 1280, height: 720 };  // pixels of a saved figure

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
    // A light error bar shows on a bar only if that is not light too.
    const filled = plot.data.flatMap((trace, index) => (trace.type === "bar" ? [index] : []));
    if (filled.length) Plotly.restyle(plot, { "marker.opacity": !print && isDark() ? 0.6 : 1 }, filled);
    Plotly.relayout(plot, layout);
  }
}

function draw(place, data, layout) {
  // The buttons are named, since plotly's own choice has one that sends the data to a server.
  const config = { responsive: true, displaylogo: false, plotlyServerURL: "",
    toImageButtonOptions: { format: "svg", ...SLIDE, filename: place.id },
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  return Plotly.newPlot(place, data, layout, config).then(() => place.classList.add("drawn"));
}

function answerMenus(chart, place) {
  for (const [name, options] of Object.entries(chart.menus)) {
    const menu = document.querySelector(`select[data-chart="${chart.name}"][data-menu="${name}"]`);
    menu.addEventListener("change", () => {
      const option = options[menu.selectedIndex];
      Plotly.update(place, option.data, option.layout).then(() => { if (chart.name === "costs") placeNames(place); });
    });
  }
}

// Names beside the points of the cost chart: each where it covers no other name and no mark, or only on hover.
const SIDES = { "middle right": [0, 0.5], "middle left": [1, 0.5], "top center": [0.5, 1], "bottom center": [0.5, 0],
  "top right": [0, 1], "bottom right": [0, 0], "top left": [1, 1], "bottom left": [1, 0] };
const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

function placeNames(plot) {
  const index = plot.data.findIndex((trace) => trace.meta === "named");
  const { xaxis, yaxis, font } = plot._fullLayout;
  const trace = plot.data[index];
  const names = trace.customdata, height = font.size * 1.2, mark = 7;
  const points = trace.x.map((x, i) => x == null ? null : [xaxis.d2p(x), yaxis.d2p(trace.y[i])]);
  const taken = points.filter(Boolean).map(([x, y]) => [x - mark, y - mark, x + mark, y + mark]);
  const sides = names.map((name, i) => {
    if (!name || !points[i]) return null;
    const [x, y] = points[i], width = name.length * font.size * 0.62;
    for (const [side, [left, up]] of Object.entries(SIDES)) {
      const x0 = x + (left === 0.5 ? -width / 2 : left ? -width - mark : mark);
      const y0 = y + (up === 0.5 ? -height / 2 : up ? -height - mark : mark);
      const box = [x0, y0, x0 + width, y0 + height];
      const own = [x - mark, y - mark, x + mark, y + mark];
      if (x0 < 0 || x0 + width > xaxis._length + 80) continue;
      if (taken.some((other) => overlap(box, other) && other.join() !== own.join())) continue;
      taken.push(box);
      return side;
    }
    return null;
  });
  return Plotly.restyle(plot, { text: [names.map((name, i) => (sides[i] ? name : ""))],
    textposition: [sides.map((side) => side || "middle right")] }, [index]);
}

// The table: a click on a heading sorts by its column, a tick shows it.
function answerTable() {
  const table = document.getElementById("rows");
  const body = table.tBodies[0], original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  for (const box of document.querySelectorAll("#columns input")) {
    const show = () => { for (const row of table.rows) row.cells[box.value - 1].hidden = !box.checked; };
    box.addEventListener("change", show);
    show();
  }
  headings.forEach((heading, column) => heading.addEventListener("click", () => {
    const next = { none: "descending", descending: "ascending", ascending: "none" };
    const order = next[heading.getAttribute("aria-sort") || "none"];
    for (const other of headings) other.removeAttribute("aria-sort");
    if (order !== "none") heading.setAttribute("aria-sort", order);
    const text = (row) => row.cells[column].textContent.trim();
    const value = (row) => Number.parseFloat(text(row).replaceAll(/[,<]/g, ""));
    const isNumber = heading.className === "number";
    const sorted = order === "none" ? original : [...original].sort((a, b) => {
      if (!text(a) || !text(b)) return !text(a) - !text(b);  // what has no value comes last
      const found = isNumber ? value(a) - value(b) : text(a).localeCompare(text(b), "en", { numeric: true });
      return order === "ascending" ? found : -found;
    });
    body.append(...sorted);
  }));
}

// The walk: one network at a time, by buttons, menu or arrow keys. Without this script, and on paper, all are shown.
function answerWalk() {
  const networks = [...document.querySelectorAll(".network")];
  if (!networks.length) return;
  const walk = document.getElementById("walk"), menu = walk.querySelector("select");
  const previous = document.getElementById("previous"), next = document.getElementById("next");
  const show = (index) => {
    networks.forEach((network, place) => { network.hidden = place !== index; });
    menu.selectedIndex = index;
    previous.disabled = index === 0;
    next.disabled = index === networks.length - 1;
  };
  const move = (by) => show(Math.min(Math.max(menu.selectedIndex + by, 0), networks.length - 1));
  previous.addEventListener("click", () => move(-1));
  next.addEventListener("click", () => move(1));
  menu.addEventListener("change", () => show(menu.selectedIndex));
  walk.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && event.target !== menu) move(by);
  });
  document.getElementById("save-block").addEventListener("click", () => saveBlock(networks[menu.selectedIndex]));
  walk.hidden = false;
  show(0);
}

// A diagram as a file of its own: the page's style as attributes, in the middle of a slide.
function blockFile(svg) {
  const copy = svg.cloneNode(true), own = [...svg.querySelectorAll("*")];
  [...copy.querySelectorAll("*")].forEach((part, index) => {
    const style = getComputedStyle(own[index]);
    for (const name of ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-weight", "text-decoration-line"]) {
      part.setAttribute(name.replace("-line", ""), style.getPropertyValue(name));
    }
  });
  const { width, height } = svg.viewBox.baseVal, aspect = SLIDE.width / SLIDE.height;
  const [w, h] = [Math.max(width, height * aspect), Math.max(height, width / aspect)].map((side) => side * 1.05);
  const box = [(width - w) / 2, (height - h) / 2, w, h];
  copy.setAttribute("viewBox", box.join(" "));
  for (const [name, value] of Object.entries({ xmlns: "http://www.w3.org/2000/svg", ...SLIDE, "font-size": 13,
    "font-family": "Helvetica, Arial, sans-serif" })) copy.setAttribute(name, value);
  const page = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  ["x", "y", "width", "height"].forEach((name, index) => page.setAttribute(name, box[index]));
  page.setAttribute("fill", color("--page"));
  copy.prepend(page);
  return new XMLSerializer().serializeToString(copy);
}

function saveBlock(network) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([blockFile(network.querySelector("svg"))], { type: "image/svg+xml" }));
  link.download = `${network.dataset.file}.svg`;
  link.click();
  URL.revokeObjectURL(link.href);
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
  answerWalk();
  answerTable();
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
  const costs = document.getElementById("chart-costs");
  if (costs) {
    await placeNames(costs);
    let width = costs.clientWidth;
    new ResizeObserver(() => {
      if (costs.clientWidth !== width) setTimeout(() => placeNames(costs), 300);
      width = costs.clientWidth;
    }).observe(costs);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => applyTheme());
  window.addEventListener("beforeprint", () => applyTheme(true));
  window.addEventListener("afterprint", () => applyTheme());
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    applyTheme();
  });
  root.dataset.ready = "yes";
}

main().catch((error) => {
  document.getElementById("problem").textContent = `The charts cannot be drawn: ${error}`;
  throw error;
});
