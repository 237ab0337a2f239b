// Puts the page together: pictures go to the panes, figures come in every two seconds.

import { get, useToken } from "./api.js";
import { byId } from "./dom.js";
import { intake } from "./intake.js";
import { Models, providers } from "./models.js";
import { Pane } from "./pane.js";
import { programs } from "./programs.js";

const EVERY = 2000; // milliseconds

const models = new Models();
const panes = [new Pane(tell), new Pane(tell)];
const second = panes[1].element;
let picture = null; // a File
let url = ""; // of the picture
let port = 8001; // of gRPC

function take(file) {
  picture = file;
  URL.revokeObjectURL(url);
  url = URL.createObjectURL(file);
  byId("programs").hidden = false;
  tell();
  for (const pane of shown()) pane.show(picture, url);
}

const shown = () => panes.filter((pane) => !pane.element.hidden);

function compare() {
  second.hidden = !second.hidden;
  byId("compare").setAttribute("aria-pressed", String(!second.hidden));
  byId("panes").classList.toggle("two", !second.hidden);
  if (picture && !second.hidden) panes[1].show(picture, url);
}

function tell() {
  const [{ model }] = panes;
  if (!model || !picture) return;
  const language = document.querySelector("[name=language]:checked").value;
  byId("lines").textContent = programs[language](model, picture.name, port);
}

async function copy() {
  await navigator.clipboard.writeText(byId("lines").textContent);
  byId("copied").textContent = byId("copy").textContent = "Copied";
  setTimeout(() => {
    byId("copied").textContent = "";
    byId("copy").textContent = "Copy";
  }, EVERY);
}

function offer() {
  const found = models.newest;
  for (const [at, pane] of panes.entries()) pane.offer(found, at);
  tell();
}

async function look() {
  try {
    if (await models.refresh()) offer();
    await models.count();
    say("connected");
    byId("token").hidden = true;
  } catch (error) {
    say(error.message, true);
    byId("token").hidden = byId("token").hidden && error.status !== 401;
  }
}

function say(text, wrong = false) {
  const state = byId("state");
  if (state.textContent !== text) state.textContent = text;
  state.classList.toggle("wrong", wrong);
}

async function watch() {
  if (!document.hidden) await look();
  setTimeout(watch, EVERY);
}

second.hidden = true;
byId("panes").append(...panes.map((pane) => pane.element));
byId("compare").addEventListener("click", compare);
byId("copy").addEventListener("click", copy);
document.addEventListener("change", ({ target }) => target.name === "language" && tell());
byId("token").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token-text").value.trim());
  byId("token-text").value = "";
  look().then(() => shown().forEach((pane) => pane.ask()));
});
intake(take);
providers();
watch();
get("/page/server.json").then((server) => {
  port = server.grpc_port;
  tell();
});
