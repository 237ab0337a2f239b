// A model that is asked about the picture, and what it answers.

import { Refused, post } from "./api.js";
import { byId, element, milliseconds } from "./dom.js";
import { findsObjects, takesPictures } from "./models.js";

const PARTS = ["decode", "queue", "compute"];

export class Pane {
  #asking = new AbortController();
  #picture = null; // a File
  #models = new Map(); // those that take pictures, by name
  #chosen;

  constructor(chosen) {
    this.element = byId("pane").content.cloneNode(true).firstElementChild;
    this.#chosen = chosen;
    this.#find("select").addEventListener("change", () => {
      this.#chosen();
      this.ask();
    });
  }

  get model() {
    return this.#models.get(this.#find("select").value);
  }

  offer(models, preferred = 0) {
    const select = this.#find("select");
    const before = select.value;
    this.#models = new Map(models.filter(takesPictures).map((model) => [model.name, model]));
    const names = [...this.#models.keys()];
    select.replaceChildren(...names.map((name) => new Option(name)));
    if (names.length) select.value = names.includes(before) ? before : names[preferred % names.length];
  }

  async show(picture, url) {
    this.#picture = picture;
    await this.#draw(url);
    await this.ask();
  }

  async ask() {
    if (!this.#picture || !this.model) return;
    this.#asking.abort();
    const asking = (this.#asking = new AbortController());
    this.element.setAttribute("aria-busy", "true");
    try {
      const answer = await post(path(this.model), this.#picture, asking.signal);
      this.#answer(answer);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Refused)) throw error;
      this.#fail(error.message);
    }
    this.element.removeAttribute("aria-busy");
  }

  async #draw(url) {
    const image = this.#find("img");
    image.src = url;
    const drawn = await image.decode().then(() => true, () => false);
    this.#find(".frame").hidden = !drawn;
    this.#find(".waiting").hidden = true;
    this.#find(".boxes").replaceChildren();
  }

  #answer({ results, timings }) {
    const [{ classes, detections, width, height }] = results;
    this.#find(".error").hidden = true;
    this.#find(".boxes").replaceChildren(...(detections ?? []).map((one) => box(one, width, height)));
    const rows = (classes ?? detections).map(row);
    this.#find(".found").replaceChildren(...(rows.length ? rows : [element("li", "quiet", "Nothing found.")]));
    this.#find(".time").replaceChildren(...time(timings));
    this.#find(".time").hidden = false;
  }

  #fail(text) {
    this.#find(".error").textContent = text;
    this.#find(".error").hidden = false;
    this.#find(".boxes").replaceChildren();
    this.#find(".found").replaceChildren();
    this.#find(".time").hidden = true;
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }
}

export function path(model) {
  return `/v1/vision/${findsObjects(model) ? "detect" : "classify"}?model=${encodeURIComponent(model.name)}`;
}

function row({ label, score }) {
  const bar = element("span", "bar");
  bar.style.width = `${score * 100}%`;
  return element("li", "", element("span", "label", label), element("span", "score", `${(score * 100).toFixed(1)} %`), bar);
}

// In shares of the picture, so that it lies right at any size.
function box({ label, box: { xmin, ymin, xmax, ymax } }, width, height) {
  const made = element("div", "box", element("span", "", label));
  made.style.left = `${(100 * xmin) / width}%`;
  made.style.top = `${(100 * ymin) / height}%`;
  made.style.width = `${(100 * (xmax - xmin)) / width}%`;
  made.style.height = `${(100 * (ymax - ymin)) / height}%`;
  return made;
}

function time(timings) {
  const bar = element("div", "times");
  bar.setAttribute("aria-hidden", "true");
  const words = element("p", "quiet row");
  for (const part of PARTS) {
    const taken = timings[`${part}_us`];
    const share = element("span", part);
    share.style.flexGrow = taken;
    bar.append(share);
    words.append(element("span", `word ${part}`, `${part} ${milliseconds(taken)}`));
  }
  return [bar, words];
}
