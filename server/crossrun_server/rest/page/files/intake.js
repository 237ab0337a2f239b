// Where pictures come from: dropped, pasted, chosen, taken by the camera, or the drawn one.

import { byId } from "./dom.js";

export function intake(take) {
  const first = (files) => files.length && take(files[0]);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) byId("drop").classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    byId("drop").classList.remove("over");
    first(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => first(event.clipboardData.files));
  byId("file").addEventListener("change", ({ target }) => {
    first(target.files);
    target.value = ""; // the same file may be chosen again
  });
  byId("drawn").addEventListener("click", async () => {
    const blob = await (await fetch("/page/drawn.jpg")).blob();
    take(new File([blob], "drawn.jpg", { type: blob.type }));
  });
  camera(take);
}

async function camera(take) {
  const video = document.querySelector("#viewfinder video");
  byId("camera").addEventListener("click", () => open(video));
  byId("close").addEventListener("click", () => close(video));
  byId("shoot").addEventListener("click", async () => {
    const picture = await still(video);
    close(video);
    take(picture);
  });
  // Pages that are not from this machine have cameras over HTTPS only.
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  byId("camera").hidden = !devices.some((device) => device.kind === "videoinput");
}

async function open(video) {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch {
    byId("camera").textContent = "The camera is not allowed";
    return;
  }
  byId("viewfinder").hidden = false;
  await video.play();
  byId("shoot").focus();
}

function close(video) {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  byId("viewfinder").hidden = true;
  byId("camera").focus();
}

function still(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => {
    canvas.toBlob((blob) => done(new File([blob], "camera.jpg", { type: blob.type })), "image/jpeg", 0.92);
  });
}
