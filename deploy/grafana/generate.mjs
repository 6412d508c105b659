#!/usr/bin/env node
// Makes dashboards/*.json from panels/*.mjs, in which a query is named by its legend. `--check` says which are out of date and ends with 1.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { capacity } from "./panels/capacity.mjs";
import { experts } from "./panels/experts.mjs";
import { serviceLevel } from "./panels/service-level.mjs";
import { tenants } from "./panels/tenants.mjs";

const FOLDER = fileURLToPath(new URL("dashboards/", import.meta.url));
/** Grafana fills in the variable. */
const DATASOURCE = { type: "prometheus", uid: "$datasource" };
const SERIES = /(?<![\w:])((?:vllm:|moiety[_:]|process_|nodejs_)[\w:]+)(\{)?/g;
/** Of every query: clusters that one Prometheus watches are told apart by their namespaces; where there are none, `.*` matches that too. */
const OF_CLUSTER = 'namespace=~"$namespace"';
/** Besides, of what other people's processes report under the same name. */
const OF_OURS = 'service=~"gateway|router|attention-worker|expert-worker"';
const WIDTH = 24;
const HEIGHT = 8;

function targetOf([legendFormat, expr], index) {
  return { refId: String.fromCharCode(65 + index), datasource: DATASOURCE, expr: ofCluster(expr), legendFormat };
}

function ofCluster(expr) {
  return expr.replace(SERIES, (_, name, brace) => {
    const matchers = /^(process|nodejs)_/.test(name) ? `${OF_CLUSTER},${OF_OURS}` : OF_CLUSTER;
    return brace === undefined ? `${name}{${matchers}}` : `${name}{${matchers},`;
  });
}

function panelOf({ title, unit = "short", description, queries, kind = "timeseries", stacked = false, max }) {
  const custom = stacked ? { custom: { fillOpacity: 40, stacking: { mode: "normal" } } } : {};
  const options = {
    timeseries: { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi" } },
    heatmap: { calculate: false, cellGap: 1, color: { scheme: "Oranges", mode: "scheme" }, yAxis: { axisPlacement: "left" } },
    stat: { reduceOptions: { calcs: ["lastNotNull"] }, colorMode: "value", graphMode: "area" },
    bargauge: { reduceOptions: { calcs: ["lastNotNull"] }, displayMode: "gradient", orientation: "horizontal" },
  };
  return {
    type: kind,
    title,
    datasource: DATASOURCE,
    fieldConfig: { defaults: { unit, min: 0, ...(max === undefined ? {} : { max }), ...custom }, overrides: [] },
    options: options[kind],
    targets: Object.entries(queries).map(targetOf),
    ...(description === undefined ? {} : { description }),
  };
}

/** Rows of panels, one below the other, each row's panels equally wide. */
function layOut(rows) {
  let y = 0;
  let id = 0;
  const placed = [];
  for (const { title, panels } of rows) {
    id += 1;
    placed.push({ id, type: "row", title, collapsed: false, gridPos: { h: 1, w: WIDTH, x: 0, y }, panels: [] });
    y += 1;
    const perLine = panels.length % 3 === 0 ? 3 : Math.min(4, panels.length);
    for (const [index, panel] of panels.entries()) {
      const w = WIDTH / perLine;
      id += 1;
      const gridPos = { h: HEIGHT, w, x: (index % perLine) * w, y: y + Math.floor(index / perLine) * HEIGHT };
      placed.push({ id, ...panelOf(panel), gridPos });
    }
    y += Math.ceil(panels.length / perLine) * HEIGHT;
  }
  return placed;
}

const CLUSTER_VARIABLES = [
  { name: "datasource", label: "Data source", type: "datasource", query: "prometheus", refresh: 1, current: {} },
  variableOf({ name: "namespace", label: "Namespace", query: "label_values(moiety_gateway_in_flight, namespace)" }),
];

function variableOf({ name, label, query }) {
  return {
    name,
    label,
    type: "query",
    datasource: DATASOURCE,
    query: { query, refId: name },
    includeAll: true,
    allValue: ".*",
    multi: false,
    refresh: 2,
    sort: 3,
    current: { text: "All", value: "$__all" },
  };
}

function dashboardOf({ uid, title, rows, variables = [] }) {
  const links = { type: "dashboards", title: "Moiety", tags: ["moiety"], asDropdown: true, includeVars: false, keepTime: true };
  return {
    uid,
    title,
    tags: ["moiety"],
    timezone: "browser",
    schemaVersion: 39,
    version: 1,
    refresh: "10s",
    time: { from: "now-30m", to: "now" },
    templating: { list: [...CLUSTER_VARIABLES, ...variables.map(variableOf)] },
    annotations: { list: [] },
    links: [links],
    panels: layOut(rows),
  };
}

const made = [serviceLevel, experts, capacity, tenants].map((each) => [
  `${each.uid}.json`,
  `${JSON.stringify(dashboardOf(each), undefined, 2)}\n`,
]);
const names = readdirSync(FOLDER);
const read = (name) => (names.includes(name) ? readFileSync(FOLDER + name, "utf8") : undefined);
const stale = made.filter(([name, text]) => read(name) !== text);
const retired = names.filter((name) => !made.some(([wanted]) => wanted === name));
if (process.argv.includes("--check")) {
  const run = "run `node deploy/grafana/generate.mjs`, then `node charts/generate.mjs`";
  for (const name of [...stale.map(([name]) => name), ...retired]) console.error(`dashboards/${name} is out of date: ${run}`);
  process.exitCode = stale.length + retired.length > 0 ? 1 : 0;
} else {
  for (const [name, text] of stale) writeFileSync(FOLDER + name, text);
  for (const name of retired) rmSync(FOLDER + name);
}
