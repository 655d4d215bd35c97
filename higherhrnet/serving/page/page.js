// Sends one image at a time to the service and draws the poses over it as selectable shapes.

import { displayName, keypointsOf, personColor, personShape, personSize, toPng, toSvg } from "./poses.js";

const $ = (id) => document.getElementById(id);
const IMAGE_TYPES = ["image/jpeg", "image/png", "image/webp"];
const CAMERA_SIDE = 640; // maximum pixels of a camera frame's longer side; more is slower
const NO_RESPONSE = "The service does not respond. Check that it is running.";

let info = { flip: false, max_megabytes: 20 };
let image = null; // { bitmap, body, name }
let response = null; // of the service, for this image
let maps = {}; // view → Image, if the response contains maps
let selected = null; // id of the selected person
let camera = null; // MediaStream while the camera is on
let request = new AbortController();

const minScore = () => $("min-score").valueAsNumber;
const minKeypointScore = () => $("min-keypoint-score").valueAsNumber;
const view = () => document.querySelector("[name=view]:checked").value;
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

// ---- requests -----------------------------------------------------------------------------------

async function openImage(blob, name) {
  stopCamera();
  showError("");
  try {
    const bitmap = await createImageBitmap(blob);
    const accepted = IMAGE_TYPES.includes(blob.type) && blob.size < 1e6 * info.max_megabytes;
    image = { bitmap, body: accepted ? blob : await toJpeg(bitmap), name };
  } catch {
    return showError(`This browser cannot open ${name || "the image"}. Use a JPEG, PNG or WebP file.`);
  }
  response = selected = null;
  maps = {};
  render();
  await predict();
}

async function predict() {
  request.abort();
  const current = (request = new AbortController());
  $("progress").hidden = false;
  try {
    const result = await requestPoses(image.body, current.signal);
    const mapImages = await loadMaps(result);
    if (!current.signal.aborted) showResult(image, result, mapImages);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!response) $("count").textContent = "No result";
    showError(error.message);
  } finally {
    if (current === request) $("progress").hidden = true;
  }
}

function showResult(newImage, newResponse, newMaps) {
  if (newResponse.annotations.every((person) => person.id !== selected)) selected = null;
  [image, response, maps] = [newImage, newResponse, newMaps];
  showError("");
  render();
}

/** Posts an image and returns the response. Retries while the service is overloaded. */
async function requestPoses(body, signal) {
  const query = new URLSearchParams({ flip: $("flip").checked, maps: view() !== "image" });
  for (;;) {
    const headers = { "content-type": body.type, ...authorization() };
    const reply = await fetch(`poses?${query}`, { method: "POST", body, headers, signal }).catch(
      (error) => {
        if (error.name === "AbortError") throw error;
        throw new Error(NO_RESPONSE);
      },
    );
    if (reply.ok) return reply.json();
    const problem = await reply.json().catch(() => ({ detail: `status ${reply.status}` }));
    if (reply.status === 503) {
      const seconds = Number(reply.headers.get("retry-after")) || 2;
      showError(`The service is busy. Retrying in ${seconds} s.`);
      await sleep(seconds);
      signal.throwIfAborted();
    } else if (reply.status !== 401 || !(await promptForToken())) {
      throw new Error(`The service cannot process this image: ${problem.detail}.`);
    }
  }
}

function authorization() {
  const token = sessionStorage.getItem("token");
  return token ? { authorization: `Bearer ${token}` } : {};
}

async function promptForToken() {
  const dialog = $("token-dialog");
  $("token").value = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  sessionStorage.setItem("token", $("token").value);
  return dialog.returnValue === "ok";
}

async function loadMaps({ images: [{ maps: urls }] }) {
  if (!urls) return {};
  const load = async (url) => {
    const map = new Image();
    map.src = url;
    await map.decode();
    return map;
  };
  const names = Object.keys(urls).filter((name) => name !== "bbox");
  const images = await Promise.all(names.map((name) => load(urls[name])));
  return Object.fromEntries(names.map((name, i) => [name, images[i]]));
}

function toJpeg(bitmap, scale = 1) {
  const canvas = new OffscreenCanvas(bitmap.width * scale, bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
}

// ---- camera: each frame is shown together with its own poses --------------------------------------

async function startCamera() {
  if (!navigator.mediaDevices)
    return showError("Browsers allow the camera only on pages from this computer or over HTTPS. Choose an image instead.");
  try {
    const video = { facingMode: "environment", width: { ideal: 1280 } };
    camera = await navigator.mediaDevices.getUserMedia({ video });
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    return showError(denied ? "This page may not use the camera. Allow it in the settings of your browser."
      : `The camera cannot be opened: ${error.message || error.name}.`);
  }
  $("camera").textContent = "Stop";
  showError("");
  request.abort();
  request = new AbortController();
  try {
    await processFrames(camera);
  } catch (error) {
    stopCamera();
    if (error.name !== "AbortError") showError(error.message);
  }
}

async function processFrames(stream) {
  const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  for (let last = performance.now(); camera === stream; ) {
    const frame = await createImageBitmap(video);
    const body = await toJpeg(frame, Math.min(1, CAMERA_SIDE / Math.max(frame.width, frame.height)));
    const bitmap = await createImageBitmap(body);
    const result = await requestPoses(body, request.signal);
    const mapImages = await loadMaps(result);
    if (camera !== stream) break;
    showResult({ bitmap, body, name: "camera" }, result, mapImages);
    const now = performance.now();
    $("count").textContent += ` · ${(1000 / (now - last)).toFixed(1)} frames/s`;
    last = now;
  }
}

function stopCamera() {
  camera?.getTracks().forEach((track) => track.stop());
  if (camera) request.abort();
  camera = null;
  $("camera").textContent = "Camera";
}

// ---- rendering ------------------------------------------------------------------------------------

function render() {
  $("placeholder").hidden = true;
  $("image").hidden = $("view").disabled = false;
  const { width, height } = image.bitmap;
  const canvas = $("canvas");
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  $("image").style.setProperty("--aspect", width / height);
  const context = canvas.getContext("2d");
  context.drawImage(image.bitmap, 0, 0);
  const map = maps[view()];
  if (map) context.drawImage(map, ...response.images[0].maps.bbox);
  renderPeople();
}

function renderPeople() {
  const { width, height } = image.bitmap;
  const people = response ? visiblePeople() : [];
  const focused = document.activeElement.closest("[data-id]"); // is replaced below
  const container = focused?.closest("#people, #list");
  const svg = $("people");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.classList.toggle("selected", selected !== null);
  const largestFirst = people.toSorted((a, b) => personSize(b) - personSize(a));
  const maxWidth = Math.sqrt(width * height) / 200;
  svg.replaceChildren(...largestFirst.map((person) =>
    personShape(person, response.categories[0], minKeypointScore(), maxWidth, person.id === selected)));
  $("tooltip").hidden = true;
  $("results").hidden = !response;
  $("count").textContent = !response ? "Processing …"
    : people.length === 1 ? "1 person" : `${people.length || "No"} people`;
  $("list").replaceChildren(...people.map(listItem));
  renderKeypoints(people.find((person) => person.id === selected));
  container?.querySelector(`[data-id="${focused.dataset.id}"]`)?.focus();
}

function visiblePeople() {
  return response.annotations.filter((person) => person.score >= minScore());
}

function listItem(person) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button" });
  const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
  swatch.style.background = personColor(person);
  const score = Object.assign(document.createElement("span"), { className: "score", textContent: person.score.toFixed(2) });
  button.append(swatch, `Person ${person.id}`, score);
  button.setAttribute("aria-pressed", person.id === selected);
  button.dataset.id = person.id;
  item.append(button);
  return item;
}

function renderKeypoints(person) {
  $("keypoints").hidden = !person;
  const rows = person ? keypointsOf(person, response.categories[0], minKeypointScore()).map(keypointRow) : [];
  $("keypoints").querySelector("tbody").replaceChildren(...rows);
}

function keypointRow({ name, score, visible }) {
  const row = document.createElement("tr");
  row.className = visible ? "" : "low-score";
  row.dataset.name = name;
  const header = Object.assign(document.createElement("th"), { scope: "row", textContent: displayName(name) });
  const bar = document.createElement("td"), number = document.createElement("td");
  bar.append(Object.assign(document.createElement("meter"), { value: score, ariaLabel: displayName(name) }));
  number.textContent = score ? score.toFixed(2) : "–";
  row.append(header, bar, number);
  return row;
}

function showError(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
}

// ---- pointer, keyboard, files -----------------------------------------------------------------------

function toggleSelection(id) {
  selected = selected === id ? null : id;
  renderPeople();
}

/** Returns the keypoint's circle that is nearest to the pointer, if it is less than 14 px away. */
function nearestKeypoint({ offsetX, offsetY }) {
  const scale = $("people").clientWidth / image.bitmap.width;
  const distanceTo = ({ cx, cy }) => Math.hypot(cx.baseVal.value * scale - offsetX, cy.baseVal.value * scale - offsetY);
  const circles = $("people").querySelectorAll(selected ? ".person.selected circle" : "circle");
  const candidates = [...circles].map((circle) => [distanceTo(circle), circle]);
  return candidates.reduce((a, b) => (b[0] < a[0] ? b : a), [14, null])[1];
}

/** Shows the name of a keypoint in a tooltip and highlights its row in the table. */
function highlightKeypoint(circle) {
  for (const element of document.querySelectorAll(".highlighted")) element.classList.remove("highlighted");
  const tooltip = $("tooltip");
  tooltip.hidden = !circle;
  if (!circle) return;
  const [box, frame] = [circle, $("image")].map((element) => element.getBoundingClientRect());
  tooltip.textContent = circle.getAttribute("aria-label");
  const x = box.x + box.width / 2 - frame.x;
  const half = tooltip.offsetWidth / 2;
  tooltip.style.left = `${Math.min(Math.max(x, half), Math.max(frame.width - half, half))}px`;
  tooltip.classList.toggle("below", box.y - frame.y < 40);
  tooltip.style.top = `${box.y + box.height / 2 - frame.y}px`;
  circle.classList.add("highlighted");
  if (Number(circle.parentNode.dataset.id) === selected) {
    $("keypoints").querySelector(`[data-name="${circle.dataset.name}"]`)?.classList.add("highlighted");
  }
}

/** Enter selects a person, arrow keys move through its keypoints, Escape returns. */
function handleKey(event) {
  const person = event.target.closest(".person");
  if (!person) return;
  const circles = [...person.querySelectorAll("circle")];
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const index = circles.indexOf(event.target);
  if (step) circles.at((Math.max(index, step < 0 ? 0 : -1) + step) % circles.length)?.focus();
  else if (event.key === "Enter" || event.key === " ") toggleSelection(Number(person.dataset.id));
  else if (event.key === "Escape" && index >= 0) person.focus();
  else if (event.key === "Escape" && selected) toggleSelection(selected);
  else return;
  event.preventDefault();
}

function download(blob, suffix) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${image.name.replace(/\.\w+$/, "") || "image"}_poses.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function downloadJson() {
  const images = response.images.map(({ maps: _, ...entry }) => entry);
  const content = { ...response, images, annotations: visiblePeople() };
  download(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }), "json");
}

function openFirstImage(files) {
  const file = [...files].find(({ type }) => type.startsWith("image/"));
  if (file) openImage(file, file.name);
  else showError("This is not an image. Use a JPEG, PNG or WebP file.");
}

$("file").addEventListener("change", () => $("file").files.length && openFirstImage($("file").files));
$("file").addEventListener("click", () => ($("file").value = "")); // so that choosing the same file again is a change
document.addEventListener("paste", (event) => event.clipboardData.files.length && openFirstImage(event.clipboardData.files));
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", type === "dragover");
    if (type === "drop") openFirstImage(event.dataTransfer.files);
  });
}
$("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
$("view").addEventListener("change", () => {
  if (!camera && view() !== "image" && !maps[view()]) predict();
  else if (!camera) render();
});
$("flip").addEventListener("change", () => image && !camera && predict());
for (const id of ["min-score", "min-keypoint-score"]) {
  $(id).addEventListener("input", () => {
    $(id).parentNode.querySelector("output").textContent = $(id).valueAsNumber.toFixed(2);
    renderPeople();
  });
}
for (const id of ["people", "list"]) {
  $(id).addEventListener("click", (event) => {
    const person = event.target.closest("[data-id]");
    if (person) toggleSelection(Number(person.dataset.id));
  });
}
$("people").addEventListener("keydown", handleKey);
$("people").addEventListener("pointermove", (event) => highlightKeypoint(nearestKeypoint(event)));
$("people").addEventListener("focusin", (event) => highlightKeypoint(event.target.closest("circle")));
$("keypoints").addEventListener("pointerover", (event) => {
  const name = event.target.closest("tr")?.dataset.name;
  highlightKeypoint($("people").querySelector(`.person.selected [data-name="${name}"]`));
});
for (const id of ["people", "keypoints"]) $(id).addEventListener("pointerleave", () => highlightKeypoint(null));
$("people").addEventListener("focusout", () => highlightKeypoint(null));
$("json").addEventListener("click", downloadJson);
$("png").addEventListener("click", async () => download(await toPng($("people"), $("canvas")), "png"));
$("svg").addEventListener("click", () => download(toSvg($("people"), $("canvas"), true), "svg"));

fetch("info").then((reply) => reply.json()).then((reply) => {
  info = reply;
  $("flip").checked = info.flip;
  for (const input of document.querySelectorAll("[name=view]"))
    input.parentElement.hidden = input.value !== "image" && !info.maps.includes(input.value);
  $("info").textContent = `${info.keypoints.length} keypoints (${info.skeleton}) · ${info.engine} ·`;
}).catch(() => showError(NO_RESPONSE));
