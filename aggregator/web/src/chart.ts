import type uPlot from "uplot";
import type { AlertView, SeriesColumns } from "@weir/aggregator/queries";
import type { ChartColumns } from "./columns.ts";
import { chartColumns } from "./columns.ts";
import { h, setText } from "./dom.ts";
import { count, time, value, words } from "./format.ts";

// The type only: the module itself is loaded from our own server, when the first chart is drawn.
type UPlotClass = typeof uPlot;

const UPLOT_URL = "/assets/uplot.js";

const HEIGHT_PX = 180;

/** A limit is in view when it lies within this many heights of the data; a far one would flatten the line. */
const LIMIT_REACH = 1.5;

/** The chart of one series. */
export interface Chart {
  readonly element: HTMLElement;
  /** Draws columns over [fromMs, toMs], with the stretches of alerts shaded. */
  draw(columns: SeriesColumns, fromMs: number, toMs: number, alerts: readonly AlertView[]): void;
  close(): void;
}

interface Drawn {
  readonly columns: ChartColumns;
  readonly fromMs: number;
  readonly toMs: number;
  readonly alerts: readonly AlertView[];
}

let loading: Promise<UPlotClass> | undefined;

function loadUPlot(): Promise<UPlotClass> {
  loading ??= import(UPLOT_URL).then((module: { readonly default: UPlotClass }) => module.default);
  return loading;
}

/** A chart of one metric: mean as a line, min to max as a band, limits dashed, breaches as dots, alerts shaded. */
export function createChart(metric: string): Chart {
  const readout = h("span", { class: "readout" });
  const canvas = h("div", { class: "plot" });
  const note = h("p", { class: "muted plot-note", hidden: true }, "No readings in this range. Choose a longer one.");
  const element = h(
    "figure",
    {
      class: "card chart",
      "data-testid": "chart",
      "data-metric": metric,
      role: "group",
      "aria-label": `Chart of ${words(metric)}`,
    },
    h("figcaption", {}, h("h3", {}, words(metric)), readout),
    canvas,
    note,
  );
  let drawn: Drawn | undefined;
  let plot: uPlot | undefined;
  let closed = false;

  let making = false;
  const make = async (): Promise<void> => {
    // What is drawn while the module loads is drawn by the plot that is being made.
    if (making) return;
    making = true;
    const Plot = await loadUPlot();
    making = false;
    if (closed || !drawn) return;
    plot?.destroy();
    plot = new Plot(
      options(Plot, canvas.clientWidth, () => drawn, readout),
      data(drawn.columns),
      canvas,
    );
  };
  const sized = new ResizeObserver(() => {
    if (plot && canvas.clientWidth > 0) plot.setSize({ width: canvas.clientWidth, height: HEIGHT_PX });
  });
  sized.observe(canvas);
  // Colours are read from the style when the plot is made.
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const remake = (): void => void make();
  scheme.addEventListener("change", remake);

  return {
    element,
    draw(columns, fromMs, toMs, alerts) {
      if (closed) return;
      drawn = { columns: chartColumns(columns), fromMs, toMs, alerts };
      const isEmpty = columns.tsMs.length === 0;
      note.hidden = !isEmpty;
      canvas.hidden = isEmpty;
      element.dataset["points"] = String(columns.tsMs.length);
      showReading(readout, drawn.columns, drawn.columns.timeS.length - 1);
      if (isEmpty) return;
      if (plot) plot.setData(data(drawn.columns));
      else void make();
    },
    close() {
      closed = true;
      sized.disconnect();
      scheme.removeEventListener("change", remake);
      plot?.destroy();
    },
  };
}

function data(columns: ChartColumns): uPlot.AlignedData {
  return [columns.timeS, columns.max, columns.min, columns.mean, columns.low, columns.high, columns.breach];
}

function options(Plot: UPlotClass, width: number, drawn: () => Drawn | undefined, readout: HTMLElement): uPlot.Options {
  const colour = colours();
  const line = { points: { show: false } };
  const limit = { ...line, stroke: colour("--limit"), width: 1.25, dash: [5, 4], ...steppedPaths(Plot) };
  const edge = { ...line, stroke: "transparent", width: 0 };
  const axis = {
    stroke: colour("--muted"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height: HEIGHT_PX,
    legend: { show: false },
    // Pointing at one chart shows the same time on all.
    cursor: { sync: { key: "device" }, y: false, drag: { x: false, y: false }, points: { size: 7 } },
    scales: {
      x: { time: true, range: () => [(drawn()?.fromMs ?? 0) / 1000, (drawn()?.toMs ?? 1) / 1000] },
      y: { range: () => valueRange(drawn()?.columns) },
    },
    axes: [
      { ...axis, size: 26, space: 70, values: (_plot, splits) => splits.map((split) => axisTime(split, drawn())) },
      { ...axis, size: 52, space: 34, values: (_plot, splits) => splits.map(value) },
    ],
    series: [
      {},
      edge,
      edge,
      { ...line, stroke: colour("--line"), width: 1.6 },
      limit,
      limit,
      { stroke: colour("--critical"), paths: () => null, points: { show: true, size: 5, fill: colour("--critical") } },
    ],
    bands: [{ series: [1, 2], fill: colour("--spread") }],
    hooks: {
      drawClear: [(plot) => shadeAlerts(plot, drawn()?.alerts ?? [], colour("--shade"))],
      setCursor: [
        (plot) => {
          const columns = drawn()?.columns;
          if (columns) showReading(readout, columns, plot.cursor.idx ?? columns.timeS.length - 1);
        },
      ],
    },
  };
}

function steppedPaths(Plot: UPlotClass): Pick<uPlot.Series, "paths"> {
  const paths = Plot.paths.stepped?.({ align: 1 });
  return paths ? { paths } : {};
}

function colours(): (name: string) => string {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name).trim();
}

/** Hours and minutes for a day, days beyond. */
function axisTime(timeS: number, drawn: Drawn | undefined): string {
  const rangeMs = drawn ? drawn.toMs - drawn.fromMs : 0;
  const date = new Date(timeS * 1000);
  const clock = date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  if (rangeMs <= 25 * 3_600_000) return clock;
  const day = date.toLocaleDateString(undefined, { day: "numeric", month: "short" });
  return date.getHours() === 0 && date.getMinutes() === 0 ? day : `${day} ${clock}`;
}

/** From the lowest to the highest reading with some room, and the limits where they are near. */
function valueRange(columns: ChartColumns | undefined): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const reading of columns?.min ?? []) if (reading !== null && reading < low) low = reading;
  for (const reading of columns?.max ?? []) if (reading !== null && reading > high) high = reading;
  if (low > high) return [0, 1];
  const height = high - low || Math.abs(high) * 0.1 || 1;
  const [bottom, top] = [low, high];
  for (const limit of [...(columns?.low ?? []), ...(columns?.high ?? [])]) {
    if (limit === null) continue;
    if (limit < low && bottom - limit <= height * LIMIT_REACH) low = limit;
    if (limit > high && limit - top <= height * LIMIT_REACH) high = limit;
  }
  const room = (high - low || height) * 0.08;
  return [low - room, high + room];
}

function shadeAlerts(plot: uPlot, alerts: readonly AlertView[], fill: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = fill;
  for (const alert of alerts) {
    if (alert.state === "withdrawn") continue;
    const from = plot.valToPos(alert.startedAtMs / 1000, "x", true);
    const to = alert.endedAtMs === null ? bbox.left + bbox.width : plot.valToPos(alert.endedAtMs / 1000, "x", true);
    const left = Math.max(bbox.left, from);
    const right = Math.min(bbox.left + bbox.width, Math.max(to, from + 2));
    if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

function showReading(readout: HTMLElement, columns: ChartColumns, index: number): void {
  const mean = columns.mean[index] ?? null;
  if (mean === null) {
    setText(readout, "no readings");
    return;
  }
  const at = time(columns.timeS[index]! * 1000, Date.now());
  const breaches = columns.breaches[index]! > 0 ? ` · ${count(columns.breaches[index]!)} breaches` : "";
  setText(
    readout,
    `${at} · mean ${value(mean)} · ${value(columns.min[index]!)} to ${value(columns.max[index]!)}${breaches}`,
  );
}
