// The models: their state, what computes them, and what they do just now.

import { get, post } from "./api.js";
import { byId, element, milliseconds } from "./dom.js";

const KEPT = 60; // points of a sparkline

// What docs/serving.md calls a detector: its outputs' names, or parameters that say how to read them.
export function findsObjects({ config }) {
  const outputs = config.output.map((output) => output.name);
  const told = Object.keys(config.parameters ?? {});
  return outputs.includes("detection_boxes") || told.some((name) => name.startsWith("detection."));
}

export function takesPictures({ config }) {
  return Boolean(config) && config.input.some(({ dims }) => dims.length >= 3 && dims.some((size) => +size === 3 || +size === 1));
}

export class Models {
  #all = new Map(); // by name and version
  #known = "";

  // Whether there are others than before.
  async refresh() {
    const index = await post("/v2/repository/index");
    const known = JSON.stringify(index);
    if (known === this.#known) return false;
    const { placements } = await get("/v1/placements");
    const found = await Promise.all(index.map((entry) => described(entry, placements)));
    this.#all = new Map(found.map((model) => [key(model), this.#remembered(model)]));
    this.#known = known;
    byId("models").replaceChildren(...found.map((model) => model.card));
    if (!found.length) byId("models").append(element("li", "quiet", "The repository holds no models."));
    return true;
  }

  get newest() {
    const found = new Map();
    for (const model of this.#all.values()) {
      const before = found.get(model.name);
      if (model.config && !(+before?.version > +model.version)) found.set(model.name, model);
    }
    return [...found.values()];
  }

  async count() {
    const { model_stats: stats } = await get("/v2/models/stats");
    const now = performance.now();
    for (const one of stats) {
      const model = this.#all.get(key(one));
      if (model) live(model, one.inference_stats, now);
    }
  }

  #remembered(model) {
    const before = this.#all.get(key(model));
    return Object.assign(model, { counted: before?.counted, rates: before?.rates ?? [] });
  }
}

const key = ({ name, version }) => `${name}\n${version}`;

async function described(entry, placements) {
  const model = { ...entry };
  if (entry.state === "READY") {
    const [name, version] = [entry.name, entry.version].map(encodeURIComponent);
    model.config = await get(`/v2/models/${name}/versions/${version}/config`);
  }
  model.sessions = placements.filter((one) => one.model === entry.name && one.version === entry.version);
  model.card = card(model);
  return model;
}

function card(model) {
  const title = element("h3", "", model.name, " ", element("span", "quiet", model.version && `version ${model.version}`));
  const state = element("span", model.state === "READY" ? "badge" : "badge off", model.state.toLowerCase() || "not loaded");
  const made = element("li", "card", element("div", "row between", title, state));
  if (model.reason) made.append(element("p", "error", model.reason));
  if (model.sessions.length) made.append(element("p", "runs", runs(model.sessions)));
  if (model.config) made.append(element("p", "live quiet", element("span", "figures", "no requests yet"), sparkline([])));
  return made;
}

// Such as "OpenVINO 61 + CPU 2 nodes · fp32 · 2 lanes".
function runs(sessions) {
  const [{ running, proof, skipped }] = sessions;
  const nodes = running.map(({ provider, nodes }) => `${short(provider)} ${nodes}`).join(" + ");
  const precision = proof?.precision || "";
  const lanes = sessions.length === 1 ? "1 lane" : `${sessions.length} lanes`;
  const left = Object.keys(skipped ?? {}).map((name) => `not ${short(name)}`);
  return [`${nodes} nodes`, precision, lanes, ...left].filter(Boolean).join(" · ");
}

const short = (provider) => provider.replace(/ExecutionProvider$/, "");

function live(model, stats, now) {
  const before = model.counted;
  model.counted = { stats, now };
  if (!before) return;
  const grown = (name, what) => stats[name][what] - before.stats[name][what];
  const requests = grown("success", "count");
  const rate = (1000 * requests) / (now - before.now);
  model.rates = [...model.rates, rate].slice(-KEPT);
  const line = model.card.querySelector(".live");
  line.querySelector("svg").replaceWith(sparkline(model.rates));
  line.querySelector(".figures").textContent = figures(rate, requests, stats, grown);
}

function figures(rate, requests, stats, grown) {
  if (!requests) return stats.success.count ? `idle · ${stats.success.count} requests so far` : "no requests yet";
  const mean = (name) => `${milliseconds(grown(name, "ns") / 1000 / Math.max(1, grown(name, "count")))}`;
  return `${rate.toFixed(1)} requests/s · queue ${mean("queue")} · compute ${mean("compute_infer")}`;
}

function sparkline(rates) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const top = Math.max(...rates, 1);
  const drawn = rates.length === 1 ? [rates[0], rates[0]] : rates; // a line has two ends
  const at = (rate, i) => `${KEPT - drawn.length + i},${19 - (18 * rate) / top}`;
  const line = document.createElementNS(svg.namespaceURI, "polyline");
  line.setAttribute("points", drawn.map(at).join(" "));
  svg.append(line);
  return svg;
}

export function providers() {
  const details = byId("providers");
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    const list = details.querySelector("ul");
    list.replaceChildren(element("li", "quiet", "Trying each of them …"));
    try {
      const found = await get("/v1/providers");
      list.replaceChildren(...found.providers.map(provider));
    } catch (error) {
      list.replaceChildren(element("li", "error", error.message));
    }
  });
}

function provider({ name, available, reason, devices }) {
  const told = available ? devices.join(", ") || "can run" : reason;
  return element("li", available ? "" : "quiet", element("b", "", short(name)), ` ${told}`);
}
